-- Load for wrk: the given paths in turn, each with a random key of its file.
--   wrk … -s load.lua URL -- SEED PATH FILE [PATH FILE]
local lists, turn = {}, 0

function init(args)
  math.randomseed(tonumber(args[1]))
  for i = 2, #args, 2 do
    local list = {}
    for key in io.lines(args[i + 1]) do
      list[#list + 1] = wrk.format("GET", args[i], { Authorization = "Bearer " .. key })
    end
    lists[#lists + 1] = list
  end
end

function request()
  turn = turn % #lists + 1
  local list = lists[turn]
  return list[math.random(#list)]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("bench: %d %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
