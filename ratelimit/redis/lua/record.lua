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

-- untilStep is the resolution of untilAt, in seconds. A key's expiry needs to be set
-- only when untilAt changes.
local untilStep = 4

local algorithms = { tokenBucket, leakyBucket, fixedWindow, slidingWindow, calendar, slidingLog, concurrency }

local fresh = {} -- the entries of a list that doesn't exist

local takens = {}
for i = 1, 16 do
  takens[i] = {}
end

-- values are the strings of the key and the owner. false: the key doesn't exist.
local values = {}

-- changed and extended report whether a value, and its expiry, must be written.
local changed, extended = {}, {}

-- position returns where the record of a policy begins.
local function position(value, id)
  local at = value and value:find(id, 1, true)
  while at and (at - 1) % recordSize ~= 0 do
    at = value:find(id, at + 1, true)
  end
  return at
end

-- read returns the numbers of a policy's record; nil if the value has none.
local function read(value, id)
  if not value then
    return
  end
  local found, generation, untilAt, isList, a, b, c, d, e = unpack(recordFormat, value)
  if found ~= id then
    local at = position(value, id)
    if not at then
      return
    end
    found, generation, untilAt, isList, a, b, c, d, e = unpack(recordFormat, value, at)
  end
  return untilAt, generation, isList, a, b, c, d, e
end

-- load reads the counter of a step, or makes it fresh.
local function load(s, now)
  local listed = s.listed
  if listed then
    s.back, s.dropped, s.entries = false, false, nil
  end
  local untilAt, generation, isList, a, b, c, d, e = read(values[s.key], s.id)
  if not untilAt or untilAt * 1e6 < now then
    s.found, s.generation, s.untilAt, s.run = false, 0, 0, 0
    s.at, s.n, s.m, s.x = 0, 0, 0, 0
    if listed then
      s.last, s.sum, s.oldest, s.newest, s.shift, s.entries = 0, 0, 0, 0, 0, fresh
    end
    return
  end
  s.found, s.generation, s.untilAt, s.wasList = true, generation, untilAt, isList == 1
  if listed then
    s.run = 0
    if s.wasList then
      s.last, s.sum, s.oldest, s.newest, s.shift = a, b, c, d, e
    else
      logFromWindow(s, a, b, c, d)
    end
    return
  end
  if s.wasList then
    windowFromLog(s, e)
  else
    s.at, s.n, s.m, s.x, s.run = a, b, c, d, e
  end
  s.before = s.at
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
  local untilAt = min((floor((algorithm.idle(s, s) + skew) / 1e6 / untilStep) + 1) * untilStep, latestUntil)
  local record
  if s.listed then
    storeEntries(s)
    call('PEXPIRE', s.listKey, lifetime(untilAt, now))
    record = pack(recordFormat, s.id, s.generation, untilAt, 1, s.last, s.sum, s.oldest, s.newest, s.shift)
  else
    if s.found and s.wasList then
      call('DEL', s.listKey)
    end
    record = pack(recordFormat, s.id, s.generation, untilAt, 0, s.at, s.n, s.m, s.x, s.run)
    s.saved = record
  end
  local key = s.key
  local value = values[key]
  if not value or #value == recordSize and s.found then
    values[key] = record
  else
    local at = position(value, s.id) -- another step may have moved it
    if at then
      values[key] = value:sub(1, at - 1) .. record .. value:sub(at + recordSize)
    else
      values[key] = append(value, record, now)
    end
  end
  changed[key] = true
  if untilAt ~= s.untilAt then
    extended[key] = true
  end
end

-- open reads the values of the keys.
local function open(keys, base, subjects)
  for i = 1, subjects do
    values[i], changed[i], extended[i] = call('GET', keys[base + i]), false, false
  end
end

-- close writes the values that have changed. They expire when their last counter
-- is idle.
local function close(keys, base, subjects, now)
  for i = 1, subjects do
    if changed[i] and not extended[i] then
      call('SET', keys[base + i], values[i], 'KEEPTTL')
    elseif changed[i] then
      local value, last = values[i], 0
      for from = 1, #value, recordSize do
        last = max(last, (unpack('<I4', value, from + untilOffset)))
      end
      call('SET', keys[base + i], value, 'PX', lifetime(last, now))
    end
  end
end
