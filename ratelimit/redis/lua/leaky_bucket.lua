-- leaky_bucket; see ratelimit/leaky_bucket.go. extra is max_wait.

local leakyBucket = { owe = oweLevel, idle = levelIdle }

-- waitsTooLong reports whether the level takes longer than max_wait to drain from
-- now on: whether level > wait × limit ÷ period.
local function waitsTooLong(s, now)
  local wait = s.extra + now - s.at
  if wait < 0 then
    return true
  end
  local units, rest = mulDiv(wait, s.limit, s.period, s.n)
  return s.n > units or s.n == units and s.m > rest
end

function leakyBucket.check(s, now, cost)
  drain(s, s, now)
  if cost > 0 then
    if cost > room(s, s) or waitsTooLong(s, now) then
      return false
    end
    s.n = s.n + cost
  end
  return true
end

function leakyBucket.give(s, taken, now, units)
  drain(s, s, now)
  drain(s, taken, s.at)
  if taken.n == s.n and taken.m == s.m then -- no request has queued since
    giveUndrained(s, s, taken, units)
  end
end
