-- calendar; see ratelimit/calendar.go. at is the period's start, n the units used,
-- m its end. The client computes the period that contains now, because the time
-- zones are there: period is its start and extra its end.

local calendar = {}

local function advanceCalendar(s, now)
  s.x = max(-maxLimit, min(s.x, maxLimit))
  local ahead = s.at - now
  if ahead <= 0 and now < s.m or ahead > 0 and ahead <= skew and s.at < s.m then
    return
  end
  if s.at <= now then
    s.n = 0
  end
  s.at, s.m, s.x = s.period, s.extra, 0
end

function calendar.check(s, now, cost)
  advanceCalendar(s, now)
  if cost > 0 and cost > s.capacity - s.n then
    return false
  end
  s.n, s.x = s.n + cost, s.x - cost
  return true
end

function calendar.give(s, taken, now, units)
  advanceCalendar(s, now)
  if s.at == taken.at then
    s.n, s.x = max(0, s.n - units), s.x + units
  end
end

function calendar.owe(_, s, now, units)
  advanceCalendar(s, now)
  s.n, s.x = min(s.n + units, maxLimit), s.x - units
end

function calendar.idle(_, s)
  return s.m
end
