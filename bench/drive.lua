-- How wrk asks: the requests of a file one after the other, round and round, and its findings as one line of JSON.
-- A line of the file is method, path, token and JSON body, with tabs between; bench/load.py writes it.

requests, sent = {}, 0
local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
end

function init(args)
   for line in io.lines(args[1]) do
      local method, path, token, body = line:match("^(%u+)\t(%S+)\t(%S*)\t(.*)$")
      local headers = {}
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
      requests[#requests + 1] = wrk.format(method, path, headers, body)
   end
end

function request()
   sent = sent + 1
   return requests[(sent - 1) % #requests + 1]
end

function done(summary, latency)
   local total, errors = 0, summary.errors
   for _, thread in ipairs(threads) do total = total + thread:get("sent") end
   io.write(string.format(
      '{"sent":%d,"completed":%d,"seconds":%.6f,"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d,' ..
      '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
      total, summary.requests, summary.duration / 1e6,
      latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
