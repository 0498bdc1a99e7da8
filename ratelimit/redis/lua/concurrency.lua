-- concurrency; see ratelimit/concurrency.go. The holders are a sorted set by their
-- expiry. The record has last and shift like a sliding_log. extra is the hold.

local concurrency = { listed = true }

-- count returns the number of holders. The state's at is no later than the first
-- expiry, m no earlier than the last one.
local function count(s, now)
  local holders = s.entries and 0 or call('ZCOUNT', s.listKey, now + s.shift + 1, '+inf')
  s.at, s.n, s.m, s.x = now, holders, now + s.extra, 0
  return holders
end

function concurrency.check(s, now, cost)
  return count(s, observe(s, now)) < s.capacity or cost == 0
end

-- removeExpired frees the slots whose hold has passed.
local function removeExpired(s)
  if s.entries then -- the counter is fresh
    call('DEL', s.listKey)
    s.entries = nil
  else
    call('ZREMRANGEBYSCORE', s.listKey, '-inf', s.last + s.shift)
  end
end

function concurrency.add(s, now, _, holder)
  now = observe(s, now)
  removeExpired(s)
  call('ZADD', s.listKey, now + s.extra + s.shift, holder)
  s.n = s.n + 1
end

function concurrency.give(s, _, now, _, holder)
  count(s, observe(s, now))
  removeExpired(s)
  s.n = s.n - call('ZREM', s.listKey, holder)
end

-- owe charges nothing: a request costs its slot only.
function concurrency.owe(_, s, now)
  count(s, observe(s, now))
  removeExpired(s)
end

-- renew extends a holder's expiry. It returns false if it has expired or was freed.
function concurrency.renew(s, now, holder)
  now = observe(s, now)
  removeExpired(s)
  count(s, now)
  if not call('ZSCORE', s.listKey, holder) then
    return false
  end
  call('ZADD', s.listKey, now + s.extra + s.shift, holder)
  return true
end

function concurrency.idle(p, s)
  return s.last + p.extra
end
