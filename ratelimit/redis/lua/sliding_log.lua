-- sliding_log, and sliding_window with a limit up to 32; see
-- ratelimit/sliding_log.go. The entries are a Redis list of packed pairs of time and
-- units. The record has
--
--   last    latest time observed
--   sum     units of all entries
--   oldest  time of the first entry, if there is one
--   newest  time of the last entry, if there is one
--   shift   what to subtract from the times of entries: the sum of the steps by
--           which the clock was set back
--
-- entries, if set, is the whole list, of a counter that isn't stored as one yet.

local slidingLog = { listed = true }

local entryFormat = '<dd'
local maxLogEntries = 10000

-- observe returns the time to use for a caller that read now.
local function observe(s, now)
  local back = s.last - now
  if back > skew then
    s.shift, s.back = s.shift + back, true
  elseif back > 0 then
    return s.last
  end
  s.last = now
  return now
end

-- range returns a part of the list, as packed entries.
local function range(s, from, count)
  if s.entries then
    return from == 0 and s.entries or {}
  end
  return call('LRANGE', s.listKey, from, from + count - 1)
end

-- dropAll empties the list.
local function dropAll(s)
  s.sum = 0
  if s.entries then
    s.entries = {}
  else
    call('DEL', s.listKey)
  end
end

-- dropExpired drops the entries that are a period old.
local function dropExpired(s, now)
  local expired = now - s.period + s.shift
  while s.sum > 0 and s.oldest <= expired do
    s.dropped = true
    local part = s.newest > expired and range(s, 0, 64) or {}
    if #part == 0 then -- none is left, or the server has evicted the list
      return dropAll(s)
    end
    local count = 0
    for i = 1, #part do
      local at, units = unpack(entryFormat, part[i])
      s.oldest = at
      if at > expired then
        break
      end
      s.sum, count = s.sum - units, i
    end
    if s.entries then
      s.entries = { s.entries[count + 1] }
    else
      call('LTRIM', s.listKey, count, -1)
    end
  end
end

-- admitsAt returns the time at which enough entries have left the log to admit need
-- units.
local function admitsAt(s, need)
  if need > s.capacity then
    return never
  end
  local sum, from, size = s.sum, 0, 8
  while true do
    local part = range(s, from, size)
    if #part == 0 then
      return never
    end
    for i = 1, #part do
      local at, units = unpack(entryFormat, part[i])
      sum = sum - units
      if need <= s.capacity - sum then
        return at - s.shift + s.period
      end
    end
    from, size = from + #part, 128
  end
end

function slidingLog.check(s, now, cost)
  now = observe(s, now)
  dropExpired(s, now)
  local need = max(cost, 1)
  s.at, s.n, s.m, s.x = now, s.sum, 0, 0
  if s.sum > 0 then
    s.m = s.oldest - s.shift
  end
  if s.sum > s.capacity then
    s.x = admitsAt(s, 1)
  end
  if need <= s.capacity - s.sum then
    return true
  end
  s.at = admitsAt(s, need)
  return cost == 0
end

-- storeEntries stores a list that isn't stored yet.
local function storeEntries(s)
  if s.entries then
    call('DEL', s.listKey)
    for i = 1, #s.entries do
      call('RPUSH', s.listKey, s.entries[i])
    end
    s.entries = nil
  end
end

-- add adds an entry for units that check has admitted.
function slidingLog.add(s, now, units)
  now = observe(s, now)
  storeEntries(s)
  local at = now + s.shift
  if s.sum > 0 and s.newest == at then
    local _, before = unpack(entryFormat, call('LINDEX', s.listKey, -1))
    call('LSET', s.listKey, -1, pack(entryFormat, at, before + units))
  else
    call('RPUSH', s.listKey, pack(entryFormat, at, units))
    if s.sum == 0 then
      s.oldest = at
    end
    s.newest = at
  end
  s.sum = s.sum + units
  s.at, s.n, s.m, s.x = now, s.sum, s.oldest - s.shift, 0
end

-- owe adds units as debt. A full log adds them to its newest entry, which leaves
-- later then.
function slidingLog.owe(_, s, now, units)
  slidingLog.check(s, now, 0)
  storeEntries(s)
  if s.sum > 0 and call('LLEN', s.listKey) >= maxLogEntries then
    local _, before = unpack(entryFormat, call('LINDEX', s.listKey, -1))
    s.newest = s.last + s.shift
    call('LSET', s.listKey, -1, pack(entryFormat, s.newest, before))
  end
  slidingLog.add(s, now, min(units, maxDebt - s.sum))
  slidingLog.check(s, now, 0)
end

-- find returns position and units of the first entry that isn't before at, if its
-- time is at.
local function find(s, at)
  local low, high = 0, call('LLEN', s.listKey)
  while low < high do
    local middle = floor((low + high) / 2)
    if unpack(entryFormat, call('LINDEX', s.listKey, middle)) < at then
      low = middle + 1
    else
      high = middle
    end
  end
  local entry = call('LINDEX', s.listKey, low)
  if entry then
    local found, units = unpack(entryFormat, entry)
    if found == at then
      return low, units, entry
    end
  end
end

function slidingLog.give(s, taken, now, units)
  slidingLog.check(s, now, 0)
  storeEntries(s)
  local at = taken.at + s.shift
  local position, before, entry = find(s, at)
  if position then
    local back = min(units, before)
    s.sum = s.sum - back
    if back < before then
      call('LSET', s.listKey, position, pack(entryFormat, at, before - back))
    else
      call('LREM', s.listKey, 1, entry)
      if s.sum > 0 then
        s.oldest = unpack(entryFormat, call('LINDEX', s.listKey, 0))
        s.newest = unpack(entryFormat, call('LINDEX', s.listKey, -1))
      end
    end
  end
  slidingLog.check(s, now, 0)
end

function slidingLog.idle(p, s)
  return s.last + p.period
end

-- logFromWindow makes a list of a sliding_window's state; see Compiled.ToList.
local function logFromWindow(s, at, n, m, x)
  s.entries, s.last, s.sum, s.oldest, s.newest, s.shift = {}, x, n + m, 0, 0, 0
  if m > 0 then
    s.entries[1], s.oldest, s.newest = pack(entryFormat, at, m), at, at
  end
  if n > 0 then
    s.entries[#s.entries + 1], s.newest = pack(entryFormat, x, n), x
    if m == 0 then
      s.oldest = x
    end
  end
end

-- windowFromLog makes a sliding_window's state of a list; see Compiled.ToState.
local function windowFromLog(s, shift)
  s.at, s.n, s.m, s.x, s.run = 0, 0, 0, 0, 0
  local part = call('LRANGE', s.listKey, 0, -1)
  for i = 1, #part do
    local at, units = unpack(entryFormat, part[i])
    charge(s, slide(s, at - shift), units)
  end
end
