-- wrk's script. Its first argument names a file. A line of the file is a request: path, token and JSON body, with tabs
-- between. The clients send the requests in a random order, again and again. The second argument is optional: after
-- that many seconds they send nothing more and wait for their responses. The output is one line of JSON.

local requests, thread = {}, nil
sent = 0

function setup(only)
   thread = only
end

function init(args)
   math.randomseed(os.time())
   for line in io.lines(args[1]) do
      local path, token, body = line:match("^(%S+)\t(%S*)\t(.*)$")
      local method, headers = "GET", {}
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      if body ~= "" then method, headers["Content-Type"] = "POST", "application/json" end
      table.insert(requests, math.random(#requests + 1), wrk.format(method, path, headers, body))
   end
   if args[2] then
      local stop = os.time() + args[2]
      function delay() return os.time() < stop and 0 or 1e6 end  -- milliseconds
   end
end

function request()
   sent = sent + 1
   return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"sent":%d,"completed":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"max_us":%d,"errors":[%d,%d,%d,%d,%d]}\n',
      thread:get("sent"), summary.requests, summary.duration / 1e6,
      latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
