-- The operations of ratelimit.Store. One call performs any number of them, one after
-- the other, each described by a packed argument:
--
--   operation   1 take, 2 give, 3 renew, 4 reset
--   base        number of keys before its own
--   time        0: the server's clock
--   generation  of counters that the operation creates
--   subjects    number of keys that are values; then come those of lists
--   count       number of steps
--   cost, enforced, flag: 1 if another store has refused (take); number of the key of a
--               record that must exist, or 0 (give)
--   holder      as text
--
-- and the steps. Its answer is the time, and for each step whether it passes and was
-- charged, and a record with its generation and state. An answer with the time alone
-- means that nothing was done, because a calendar step lacks the period of that
-- time; an empty one that the record doesn't exist.

local headerFormat = '<BI2dI4BBdBBB'
local stepFormat = '<BBBc8dddd'
local giveFormat = '<dI4ddddd'

-- verdicts is the part of an answer for allowed and charged.
local verdicts = { '\0\0', '\1\0', '\1\1' }

-- o is the present operation, parsed.
local o = {}

-- parse reads an operation. It returns false if a step lacks the period of its time.
local function parse(keys, message, now)
  local time, size, at
  o.kind, o.base, time, o.generation, o.subjects, o.count, o.cost, o.enforced, o.flag, size, at = unpack(headerFormat, message)
  o.holder = size > 0 and message:sub(at, at + size - 1)
  o.now = time > 0 and time or now
  at = at + size
  local complete, gives = true, o.kind == 2 or o.kind == 3
  for i = 1, o.count do
    local s = steps[i]
    local kind, list
    kind, s.key, list, s.id, s.capacity, s.limit, s.period, s.extra, at = unpack(stepFormat, message, at)
    s.algorithm, s.list = algorithms[kind], list > 0 and keys[o.base + list]
    s.allowed, s.charged, s.saved = false, false, nil
    if kind == 5 and (o.now < s.period or o.now >= s.extra) then
      complete = false
    end
    if gives then
      local t = takens[i]
      s.give, s.taken, t.at, t.n, t.m, t.x, t.run, at = unpack(giveFormat, message, at)
    end
  end
  return complete
end

-- answer packs the results.
local function answer()
  local packed = pack('<d', o.now)
  for i = 1, o.count do
    local s = steps[i]
    local verdict = verdicts[s.charged and 3 or s.allowed and 2 or 1]
    packed = packed .. verdict .. (s.saved or pack(recordFormat, s.id, s.generation, 0, 0, s.at, s.n, s.m, s.x, s.run))
  end
  return packed
end

-- costOf is Compiled.CostOf.
local function costOf(s, cost)
  return s.algorithm == concurrency and min(cost, 1) or cost
end

-- wentBack reports whether a check must be saved although it charged nothing: the
-- counter would otherwise stay in the future, or list what it has dropped.
local function wentBack(s)
  if s.algorithm.listed then
    return s.wasList and (s.back or s.dropped)
  end
  return s.at < s.before
end

-- check decides a step without saving it.
local function check(s, now, cost)
  load(s, now)
  s.allowed = s.algorithm.check(s, now, costOf(s, cost))
end

-- keep saves a step that isn't charged, if need be.
local function keep(s, now)
  if s.found and wentBack(s) then
    save(s, now)
  end
end

-- chargeStep saves the charge of a step that check has admitted.
local function chargeStep(s, now, cost, holder, generation)
  if not s.found then
    s.generation = generation
  end
  if s.algorithm.listed then
    s.algorithm.add(s, now, cost, holder)
  end
  save(s, now)
  s.charged = true
end

local function take()
  local now, cost = o.now, o.cost
  local admitted = o.flag == 0
  for i = 1, o.count do
    check(steps[i], now, cost)
    if i <= o.enforced and not steps[i].allowed then
      admitted = false
    end
  end
  for i = 1, o.count do
    local s = steps[i]
    if cost == 0 then
      keep(s, now)
    elseif not admitted then
      if s.allowed and not s.algorithm.listed then -- undo the charge
        check(s, now, 0)
      end
      keep(s, now)
    elseif s.allowed then
      chargeStep(s, now, cost, o.holder, o.generation)
    else
      keep(s, now)
    end
  end
end

-- giveStep gives units back to a step's counter, unless it is another one by now.
local function giveStep(s, taken, now)
  if s.found and s.generation == s.taken then
    s.algorithm.give(s, taken, now, s.give, o.holder)
    save(s, now)
  else
    s.algorithm.check(s, now, 0)
    keep(s, now)
  end
end

-- oweStep charges units as debt.
local function oweStep(s, now)
  if not s.found then
    s.generation = o.generation
  end
  s.algorithm.owe(s, s, now, -s.give)
  save(s, now)
end

local function give()
  for i = 1, o.count do
    local s = steps[i]
    load(s, o.now)
    if s.give > 0 then
      giveStep(s, takens[i], o.now)
    else
      oweStep(s, o.now)
    end
  end
end

-- renew extends holders. Steps of other algorithms aren't sent.
local function renew()
  for i = 1, o.count do
    local s = steps[i]
    load(s, o.now)
    if s.found and s.generation == s.taken then
      s.allowed = concurrency.renew(s, o.now, o.holder)
      save(s, o.now)
    else
      concurrency.check(s, o.now, 0)
    end
  end
end

local function reset(keys)
  for i = 1, o.count do
    local s = steps[i]
    local value = values[s.key]
    local record = position(value, s.id)
    s.generation, s.at, s.n, s.m, s.x, s.run = 0, 0, 0, 0, 0, 0
    if record then
      values[s.key] = value:sub(1, record - 1) .. value:sub(record + recordSize)
      changed[s.key] = true
    end
    if s.list then
      call('DEL', s.list)
    end
  end
  for i = 1, o.subjects do
    if values[i] == '' then
      call('DEL', keys[o.base + i])
      changed[i] = false
    end
  end
end

local operations = { take, give, renew, reset }

-- perform performs one operation and returns its answer.
local function perform(keys, message, now)
  if not parse(keys, message, now) and o.kind <= 2 then
    return pack('<d', o.now)
  end
  if o.kind == 2 and o.flag > 0 and call('DEL', keys[o.base + o.flag]) == 0 then
    return ''
  end
  open(keys, o.base, o.subjects)
  operations[o.kind](keys)
  close(keys, o.base, o.subjects, o.now)
  return answer()
end

-- run is what clients call.
local function run(keys, args)
  if not call then
    bind()
  end
  local now, answers = clock(), {}
  for i = 1, #args do
    answers[i] = perform(keys, args[i], now)
  end
  return answers
end
