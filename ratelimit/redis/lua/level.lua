-- token_bucket and leaky_bucket: the level of ratelimit/level.go. A state is
--
--   at  time of the last update
--   n   whole units of the level
--   m   fraction of the level, in 1/period of a unit, period in microseconds
--   x   units of debt when it was last charged
--
-- p has the policy's numbers, s the state.

-- drain advances a level to now.
local function drain(p, s, now)
  if s.n <= p.capacity then
    s.x = 0
  else
    local most = p.capacity + p.limit + min(s.x, maxDebt)
    if s.n >= most then
      s.n, s.m = most, 0
    end
  end
  local elapsed = now - s.at
  if elapsed <= 0 then
    if elapsed < -skew then
      s.at = now
    end
    return
  end
  s.at = now
  local n, m = s.n, s.m
  if n == 0 and m == 0 then
    return
  end
  local units, rest = mulDiv(elapsed, p.limit, p.period, n)
  if units > n or units == n and rest >= m then
    s.n, s.m = 0, 0
    return
  end
  n, m = n - units, m - rest
  if m < 0 then
    n, m = n - 1, m + p.period
  end
  s.n, s.m = n, m
end

-- room returns the units that fit, which is negative in debt.
local function room(p, s)
  if s.m > 0 then
    return p.capacity - s.n - 1
  end
  return p.capacity - s.n
end

-- subtract reduces a level by n units and m ÷ period, to no less than 0.
local function subtract(p, s, n, m)
  n, m = s.n - n, s.m - m
  if m < 0 then
    n, m = n - 1, m + p.period
  end
  if n < 0 then
    n, m = 0, 0
  end
  s.n, s.m = n, m
end

-- giveUndrained gives back the part of a take's newest units that hasn't drained.
-- taken is the drained level after the take.
local function giveUndrained(p, s, taken, units)
  if taken.n >= units then
    subtract(p, s, units, 0)
  else
    subtract(p, s, taken.n, taken.m)
  end
end

local function oweLevel(p, s, now, units)
  drain(p, s, now)
  s.n = min(s.n + units, maxDebt)
  s.x = max(0, s.n - p.capacity)
end

-- levelIdle returns a time at which the level is empty.
local function levelIdle(p, s)
  return s.at + (s.n + 1) * p.period / p.limit + 1
end
