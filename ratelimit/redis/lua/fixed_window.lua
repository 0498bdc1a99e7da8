-- fixed_window; see ratelimit/fixed_window.go. at is the window's start, n the
-- units used.

local fixedWindow = {}

local function advanceFixed(s, now)
  local start = now - now % s.period
  if s.at < start then
    s.at, s.n = start, 0
  elseif s.at > start and s.at - now > skew then
    s.at = start
  end
end

function fixedWindow.check(s, now, cost)
  advanceFixed(s, now)
  if cost > 0 and cost > s.capacity - s.n then
    return false
  end
  s.n = s.n + cost
  return true
end

function fixedWindow.give(s, taken, now, units)
  advanceFixed(s, now)
  if s.at == taken.at then
    s.n = max(0, s.n - units)
  end
end

function fixedWindow.owe(_, s, now, units)
  advanceFixed(s, now)
  s.n = min(s.n + units, maxLimit)
end

function fixedWindow.idle(p, s)
  return s.at + p.period
end
