-- The script of bench/wrk.py. Each line of its file is method, path, token and JSON body, with tabs between. Each thread
-- sends them in a random order, round and round, to the server at one of the PORTS. After STOP_AFTER seconds clients
-- send nothing more and wait for their responses. The result is one line of JSON.

requests, sent = {}, 0
local threads, ports = {}, {}
for port in os.getenv("PORTS"):gmatch("%d+") do ports[#ports + 1] = port end

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("seed", os.time() * #ports + #threads)
   thread.addr = wrk.lookup(wrk.host, ports[#threads])[1]
end

function init(args)
   math.randomseed(seed)
   for line in io.lines(args[1]) do
      local method, path, token, body = line:match("^(%u+)\t(%S+)\t(%S*)\t(.*)$")
      local headers = {}
      if token ~= "" then headers["Authorization"] = "Bearer " .. token end
      if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
      table.insert(requests, math.random(#requests + 1), wrk.format(method, path, headers, body))
   end
end

local stop_after = tonumber(os.getenv("STOP_AFTER"))
if stop_after then
   local ffi = require("ffi")
   ffi.cdef("typedef struct { long sec, usec; } timeval; int gettimeofday(timeval *, void *);")
   local function now()
      local value = ffi.new("timeval")
      ffi.C.gettimeofday(value, nil)
      return tonumber(value.sec) + tonumber(value.usec) / 1e6
   end
   local stop = now() + stop_after
   function delay() return now() < stop and 0 or 1e6 end  -- milliseconds
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
