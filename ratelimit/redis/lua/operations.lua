-- The operations of ratelimit.Store. Each is called with the keys of one or two
-- subjects, then those of lists, and one packed argument:
--
--   time        0: the server's clock
--   generation  of counters that the operation creates
--   subjects    number of keys that are values
--   steps       number of steps
--   cost, enforced, refused (take), or whether the last key is a record (give)
--   holder      as text
--
-- and the steps. The answer is the time, and for each step whether it passes, whether
-- it was charged, its generation and its state. An answer with the time alone means
-- that nothing was done, because a calendar step lacks the period of that time.

local headerFormat = '<dI4BBdBBB'
local stepFormat = '<BBBc8dddd'
local giveFormat = '<dI4ddddd'
local answerFormat = '<BBI4ddddd'

-- header reads the numbers before the steps.
local function header(message)
  local now, generation, subjects, count, cost, enforced, flag, size, at = unpack(headerFormat, message)
  local holder = message:sub(at, at + size - 1)
  if now == 0 then
    now = clock()
  end
  return now, generation, subjects, count, cost, enforced, flag == 1, holder, at + size
end

-- parse reads the steps. It returns false if one lacks the period of now.
local function parse(keys, message, at, count, now, gives)
  local complete = true
  for i = 1, count do
    local s = steps[i]
    local kind, list
    kind, s.key, list, s.id, s.capacity, s.limit, s.period, s.extra, at = unpack(stepFormat, message, at)
    s.algorithm, s.list = algorithms[kind], keys[list]
    s.charged = false
    if s.algorithm == calendar and (now < s.period or now >= s.extra) then
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
local function answer(count, now)
  local packed = pack('<d', now)
  for i = 1, count do
    local s = steps[i]
    packed = packed .. pack(answerFormat, s.allowed and 1 or 0, s.charged and 1 or 0, s.generation or 0, s.at, s.n, s.m, s.x, s.run)
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
  if s.record and wentBack(s) then
    save(s, now)
  end
end

-- chargeStep saves the charge of a step that check has admitted.
local function chargeStep(s, now, cost, holder, generation)
  if not s.record then
    s.generation = generation
  end
  if s.algorithm.listed then
    s.algorithm.add(s, now, cost, holder)
  end
  save(s, now)
  s.charged = true
end

local function take(keys, args)
  local now, generation, subjects, count, cost, enforced, refused, holder, at = header(args[1])
  if not parse(keys, args[1], at, count, now) then
    return pack('<d', now)
  end
  open(keys, subjects)
  local admitted = not refused
  for i = 1, count do
    check(steps[i], now, cost)
    if i <= enforced and not steps[i].allowed then
      admitted = false
    end
  end
  for i = 1, count do
    local s = steps[i]
    if cost == 0 then
      keep(s, now)
    elseif not admitted then
      if s.allowed and not s.algorithm.listed then -- undo the charge
        check(s, now, 0)
      end
      keep(s, now)
    elseif s.allowed then
      chargeStep(s, now, cost, holder, generation)
    else
      keep(s, now)
    end
  end
  close(keys, subjects, now)
  return answer(count, now)
end

-- giveStep gives units back to a step's counter, unless it is another one by now.
local function giveStep(s, taken, now, holder)
  if not s.record or s.generation ~= s.taken then
    s.allowed = s.algorithm.check(s, now, 0)
    keep(s, now)
    return
  end
  s.algorithm.give(s, taken, now, s.give, holder)
  save(s, now)
end

-- oweStep charges units as debt.
local function oweStep(s, now, generation)
  if not s.record then
    s.generation = generation
  end
  s.algorithm.owe(s, s, now, -s.give)
  save(s, now)
end

local function give(keys, args)
  local now, generation, subjects, count, _, _, once, holder, at = header(args[1])
  if not parse(keys, args[1], at, count, now, true) then
    return pack('<d', now)
  end
  if once and call('DEL', keys[#keys]) == 0 then
    return ''
  end
  open(keys, subjects)
  for i = 1, count do
    local s = steps[i]
    load(s, now)
    if s.give > 0 then
      giveStep(s, takens[i], now, holder)
    else
      oweStep(s, now, generation)
    end
  end
  close(keys, subjects, now)
  return answer(count, now)
end

-- renew extends holders. Steps of other algorithms aren't sent.
local function renew(keys, args)
  local now, _, subjects, count, _, _, _, holder, at = header(args[1])
  parse(keys, args[1], at, count, now, true)
  open(keys, subjects)
  for i = 1, count do
    local s = steps[i]
    load(s, now)
    s.allowed = false
    if s.record and s.generation == s.taken then
      s.allowed = concurrency.renew(s, now, holder)
      save(s, now)
    else
      concurrency.check(s, now, 0)
    end
  end
  close(keys, subjects, now)
  return answer(count, now)
end

local function reset(keys, args)
  local now, _, subjects, count, _, _, _, _, at = header(args[1])
  parse(keys, args[1], at, count, now)
  open(keys, subjects)
  for i = 1, count do
    local s = steps[i]
    local value = values[s.key]
    local record = position(value, s.id)
    if record then
      values[s.key] = value:sub(1, record - 1) .. value:sub(record + recordSize)
      values.changed[s.key] = true
    end
    if s.list then
      call('DEL', s.list)
    end
  end
  for i = 1, subjects do
    if values[i] == '' then
      call('DEL', keys[i])
      values.changed[i] = false
    end
  end
  close(keys, subjects, now)
  return pack('<d', now)
end

-- register makes an operation callable by clients.
local function register(name, operation)
  redis.register_function(name, function(keys, args)
    if not call then
      bind()
    end
    return operation(keys, args)
  end)
end
