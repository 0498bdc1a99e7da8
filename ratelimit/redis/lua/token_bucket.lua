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
  local before, debt = floor(s.x / debts), s.x % debts
  local given = (before - floor(taken.x / debts)) % givens
  given = giveUndrained(s, s, taken, s.at, units, given)
  s.x = (before + given) % givens * debts + debt
end
