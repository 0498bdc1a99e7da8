-- token_bucket and leaky_bucket: the level of ratelimit/level.go. A state is
--
--   at  time of the last update
--   n   whole units of the level
--   m   fraction of the level, in 1/period of a unit, period in microseconds
--   x   units given back so far, modulo 2^40, × 2^11 + debt when it was last charged
--
-- p has the policy's numbers, s the state.

local debts, givens = 2 ^ 11, 2 ^ 40

-- aboutDebt returns a debt as a number of 5 bits and an exponent, rounded up.
local function aboutDebt(units)
  local exponent = 0
  while units > 31 do
    units, exponent = floor((units + 1) / 2), exponent + 1
  end
  return exponent * 32 + units
end

-- mostDebt is the inverse of aboutDebt.
local function mostDebt(x)
  local debt = x % debts
  return min(debt % 32 * 2 ^ floor(debt / 32), maxDebt)
end

-- drain advances a level to now.
local function drain(p, s, now)
  if s.n <= p.capacity then
    s.x = s.x - s.x % debts
  else
    local most = p.capacity + p.limit + mostDebt(s.x)
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

-- giveUndrained gives back the part of a take's newest units that hasn't drained at
-- now. taken is the level after the take, given the units given back since. It
-- returns what it gives back, in whole units, rounded up.
local function giveUndrained(p, s, taken, now, units, given)
  local earlier = max(0, taken.n - units)
  if given > earlier then
    given, taken.m = earlier, 0
  end
  taken.n = taken.n - given
  drain(p, taken, now)
  local n, m = taken.n, taken.m
  if n >= units then
    n, m = units, 0
  end
  subtract(p, s, n, m)
  return m > 0 and n + 1 or n
end

local function oweLevel(p, s, now, units)
  drain(p, s, now)
  s.n = min(s.n + units, maxDebt)
  s.x = s.x - s.x % debts + aboutDebt(max(0, s.n - p.capacity))
end

-- levelIdle returns a time at which the level is empty.
local function levelIdle(p, s)
  return s.at + (s.n + 1) * p.period / p.limit + 1
end
