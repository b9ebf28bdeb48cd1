-- Sends the requests of a file in turn, ready-made, so that the generator spends nothing on building them.
-- A line of the file is METHOD <tab> PATH <tab> BEARER <tab> BODY; the last two may be empty.
-- When it is done, one line of JSON: see `Load` in load.py.

local requests = {}
local position = 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local method, path, bearer, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {}
    if bearer ~= "" then
      headers["Authorization"] = "Bearer " .. bearer
    end
    if body ~= "" then
      headers["Content-Type"] = body:sub(1, 1) == "{" and "application/json" or "application/x-www-form-urlencoded"
      requests[#requests + 1] = wrk.format(method, path, headers, body)
    else
      requests[#requests + 1] = wrk.format(method, path, headers)
    end
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nLOAD {"rate": %.3f, "answers": %d, "p50_ms": %.4f, "p99_ms": %.4f, "refused": %d, "broken": %d}\n',
    (summary.requests - errors.status) / (summary.duration / 1e6),
    summary.requests,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.status,
    errors.connect + errors.read + errors.write + errors.timeout
  ))
end
