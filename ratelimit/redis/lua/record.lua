-- The counters of a subject are one string of records, so that a decision over all
-- its policies reads and writes one value. A record is
--
--   id          8 bytes, the policy's ID
--   generation  distinguishes the counter from later ones
--   untilAt     seconds; the counter equals a fresh one from then on, also for late
--               callers
--   listed      1: the counter is a list in a key of its own
--   5 numbers   the state, or the summary of the list
--
-- Tables are reused by all calls, because creating them would take longer than most
-- decisions. A server runs one call at a time.

local recordFormat = '<c8I4I4Bddddd'
local recordSize = 57
local untilOffset, latestUntil = 12, 2 ^ 32 - 1

local algorithms = { tokenBucket, leakyBucket, fixedWindow, slidingWindow, calendar, slidingLog, concurrency }

local fresh = {} -- the entries of a counter that doesn't exist

local steps, takens = {}, {}
for i = 1, 16 do
  steps[i], takens[i] = {}, {}
end

-- values are the strings of the key and the owner. false: the key doesn't exist.
local values = {}

-- position returns where the record of a policy begins.
local function position(value, id)
  local at = value and value:find(id, 1, true)
  while at and (at - 1) % recordSize ~= 0 do
    at = value:find(id, at + 1, true)
  end
  return at
end

-- load reads the counter of a step, or makes it fresh.
local function load(s, now)
  s.back, s.dropped, s.entries, s.generation = false, false, nil, nil
  local value = values[s.key]
  local record = position(value, s.id)
  if record and unpack('<I4', value, record + untilOffset) * 1e6 < now then
    record = nil
  end
  s.record = record
  local listed = s.algorithm.listed
  if not record then
    s.at, s.n, s.m, s.x, s.run = 0, 0, 0, 0, 0
    if listed then
      s.last, s.sum, s.oldest, s.newest, s.shift, s.entries = 0, 0, 0, 0, 0, fresh
    end
    return
  end
  local _, isList, a, b, c, d, e
  _, s.generation, _, isList, a, b, c, d, e = unpack(recordFormat, value, record)
  s.wasList = isList == 1
  if not listed then
    if s.wasList then
      windowFromLog(s, e)
    else
      s.at, s.n, s.m, s.x, s.run = a, b, c, d, e
    end
    s.before = s.at
    return
  end
  s.run = 0
  if s.wasList then
    s.last, s.sum, s.oldest, s.newest, s.shift = a, b, c, d, e
  else
    logFromWindow(s, a, b, c, d)
  end
end

-- append adds a record to a value and drops those that are idle.
local function append(value, record, now)
  if not value then
    return record
  end
  for from = #value - recordSize + 1, 1, -recordSize do
    if unpack('<I4', value, from + untilOffset) * 1e6 < now then
      value = value:sub(1, from - 1) .. value:sub(from + recordSize)
    end
  end
  return value .. record
end

-- lifetime returns the milliseconds from now until a record's untilAt.
local function lifetime(untilAt, now)
  return max(1, untilAt * 1000 - floor(now / 1000))
end

-- save writes the counter of a step into its subject's value.
local function save(s, now)
  local algorithm = s.algorithm
  local untilAt = min(floor((algorithm.idle(s, s) + skew) / 1e6) + 1, latestUntil)
  local record
  if algorithm.listed then
    storeEntries(s)
    call('PEXPIRE', s.list, lifetime(untilAt, now))
    record = pack(recordFormat, s.id, s.generation, untilAt, 1, s.last, s.sum, s.oldest, s.newest, s.shift)
  else
    if s.record and s.wasList then
      call('DEL', s.list)
    end
    record = pack(recordFormat, s.id, s.generation, untilAt, 0, s.at, s.n, s.m, s.x, s.run)
  end
  local value = values[s.key]
  local at = position(value, s.id) -- another step may have moved it
  if not at then
    values[s.key] = append(value, record, now)
  elseif #value == recordSize then
    values[s.key] = record
  else
    values[s.key] = value:sub(1, at - 1) .. record .. value:sub(at + recordSize)
  end
  values.changed[s.key] = true
end

-- open reads the values of the keys.
local function open(keys, subjects)
  values.changed = { false, false }
  for i = 1, subjects do
    values[i] = call('GET', keys[i])
  end
end

-- close writes the values that have changed. They expire when their last counter
-- is idle.
local function close(keys, subjects, now)
  for i = 1, subjects do
    local value = values[i]
    if values.changed[i] then
      local last = 0
      for from = 1, #value, recordSize do
        last = max(last, (unpack('<I4', value, from + untilOffset)))
      end
      call('SET', keys[i], value, 'PX', lifetime(last, now))
    end
  end
end
