-- sliding_window with a limit above 32; see ratelimit/sliding_window.go. at is the
-- start of the current window, n the units used in it, m those of the window
-- before, x the time of the last charge. run is the even run:
-- (requests × 2^20 + cost) × 2 + 1 if it includes the window before.

local slidingWindow = {}

local costs = 2 ^ 20 -- maxCost is below
local maxRequests = 2 ^ 22 - 1

-- slide moves the windows to now and returns the time to use.
local function slide(s, now)
  local period = s.period
  local ahead = s.x - now
  if ahead > skew then
    s.at, s.x = s.at - ahead, now
  elseif ahead > 0 then
    now = s.x
  end
  if now - s.at >= period then
    s.at, s.m, s.n = s.at + period, s.n, 0
    s.run = s.run - s.run % 2 + 1
  end
  if now - s.x >= period or s.n == 0 and s.m == 0 then
    s.at, s.n, s.m, s.x, s.run = now, 0, 0, now, 0
  end
  return now
end

-- evenRun returns cost and requests of the run.
local function evenRun(s)
  local run = floor(s.run / 2)
  local cost = run % costs
  return cost, (run - cost) / costs
end

-- spaced reports whether a request now continues a run of so many requests: whether
-- the time since the last charge is at least period ÷ requests, rounded down to a
-- nanosecond.
local function spaced(s, now, requests)
  local gap = divide(s.period, requests)
  if (s.period - gap * requests) * 1000 >= requests then
    gap = gap + 1
  end
  return now - s.x >= gap
end

-- remaining returns the largest cost that passes.
local function remaining(s, now)
  local weighted = 0
  if s.m > 0 then
    local covered = s.period - max(0, min(now - s.at, s.period - 1))
    local units, rest = mulDiv(covered, s.m, s.period, s.m)
    weighted = rest > 0 and units + 1 or units
  end
  local left = max(0, s.capacity - s.n - weighted)
  if s.run > 1 and (s.m == 0 or s.run % 2 == 1) then
    local cost, requests = evenRun(s)
    if left < cost and requests > 0 and requests * cost <= s.limit and spaced(s, now, requests) then
      return cost
    end
  end
  return left
end

-- charge adds units to the current window.
local function charge(s, now, units)
  local cost, requests = evenRun(s)
  if requests == 0 or units > cost or requests * cost > s.limit or not spaced(s, now, requests) then
    s.run = 0
    if s.n == 0 and units <= maxCost then
      requests = divide(s.limit, units)
      if requests <= maxRequests then
        s.run = (requests * costs + units) * 2
        if s.m == 0 then
          s.run = s.run + 1
        end
      end
    end
  end
  s.n = min(s.n + units, maxLimit)
  s.x = now
end

function slidingWindow.check(s, now, cost)
  now = slide(s, now)
  if cost > 0 then
    if cost > remaining(s, now) then
      return false
    end
    charge(s, now, cost)
  end
  return true
end

function slidingWindow.give(s, taken, now, units)
  slide(s, now)
  local age = taken.at - s.at
  if age >= 0 then
    s.n = max(0, s.n - units)
  elseif age >= -s.period then
    s.m = max(0, s.m - units)
  end
end

function slidingWindow.owe(_, s, now, units)
  charge(s, slide(s, now), units)
end

function slidingWindow.idle(p, s)
  return s.x + p.period
end
