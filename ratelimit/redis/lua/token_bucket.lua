-- token_bucket; see ratelimit/token_bucket.go.

local tokenBucket = { owe = oweLevel, idle = levelIdle }

function tokenBucket.check(s, now, cost)
  drain(s, s, now)
  if cost > 0 then
    if cost > room(s, s) then
      return false
    end
    s.n = s.n + cost
  end
  return true
end

function tokenBucket.give(s, taken, now, units)
  drain(s, s, now)
  drain(s, taken, s.at)
  giveUndrained(s, s, taken, units)
end
