-- The operations of ratelimit.Store. One call performs any number of them, one after
-- the other, each described by a packed argument:
--
--   operation   1 take, 2 give, 3 renew, 4 reset
--   base        number of keys before its own
--   time        0: the server's clock
--   generation  of counters that the operation creates
--   cost
--   flag        take: 1 if another store has refused; give: the number of the key of a
--               record that must exist, or 0
--   size        of the plan
--   plan        number of keys that are values (then come those of lists), of steps
--               and of enforced steps; the steps
--   taken       for give and renew: for each step what to give and what was taken
--   holder      as text
--
-- Its answer is the time, and for each step whether it passes and was charged, and a
-- record with its generation and state. An answer with the time alone means that
-- nothing was done, because a calendar step lacks the period of that time; an empty
-- one that the record doesn't exist.

local headerFormat, headerSize = '<BI2dI4dBI2', 26
local planFormat, planSize = '<BBB', 3
local stepFormat, stepSize = '<BBBc8dddd', 43
local giveFormat = '<dI4ddddd'

-- verdicts is the part of an answer for allowed and charged.
local verdicts = { '\0\0', '\1\0', '\1\1' }

-- plans caches parsed plans by their text, because the same policies come again and
-- again. The tables of their steps hold counters while an operation is performed.
local plans, planCount, maxPlans = {}, 0, 4096

-- The present operation.
local kind, base, now, generation, cost, flag, plan, holder

-- parsePlan returns the plan with a text.
local function parsePlan(text)
  local p = {}
  p.subjects, p.count, p.enforced = unpack(planFormat, text)
  for i = 1, p.count do
    local s, algorithm = {}
    algorithm, s.key, s.list, s.id, s.capacity, s.limit, s.period, s.extra = unpack(stepFormat, text, planSize + (i - 1) * stepSize + 1)
    s.algorithm = algorithms[algorithm]
    s.listed, s.check = s.algorithm.listed, s.algorithm.check
    p.calendar = p.calendar or s.algorithm == calendar
    p.lists = p.lists or s.list > 0
    p[i] = s
  end
  if planCount == maxPlans then
    plans, planCount = {}, 0
  end
  plans[text], planCount = p, planCount + 1
  return p
end

-- inPeriods reports whether all calendar steps have the period of now.
local function inPeriods()
  for i = 1, plan.count do
    local s = plan[i]
    if s.algorithm == calendar and (now < s.period or now >= s.extra) then
      return false
    end
  end
  return true
end

-- parse reads an operation.
local function parse(keys, message, clockTime)
  local size
  kind, base, now, generation, cost, flag, size = unpack(headerFormat, message)
  if now == 0 then
    now = clockTime
  end
  local at = headerSize + size
  local text = message:sub(headerSize + 1, at)
  plan = plans[text] or parsePlan(text)
  at = at + 1
  if kind == 2 or kind == 3 then
    for i = 1, plan.count do
      local s, t = plan[i], takens[i]
      s.give, s.taken, t.at, t.n, t.m, t.x, t.run, at = unpack(giveFormat, message, at)
    end
  end
  if plan.lists then
    holder = message:sub(at)
    for i = 1, plan.count do
      local s = plan[i]
      if s.list > 0 then
        s.listKey = keys[base + s.list]
      end
    end
  end
end

-- packedTime is the time at packedFor, packed.
local packedTime, packedFor

-- answer packs the results.
local function answer()
  if packedFor ~= now then
    packedTime, packedFor = pack('<d', now), now
  end
  local packed = packedTime
  for i = 1, plan.count do
    local s = plan[i]
    packed = packed .. verdicts[s.charged and 3 or s.allowed and 2 or 1]
      .. (s.saved or pack(recordFormat, s.id, s.generation, 0, 0, s.at, s.n, s.m, s.x, s.run))
  end
  return packed
end

-- load reads the counter of a step.
local function loadStep(s)
  s.allowed, s.charged, s.saved = false, false, nil
  load(s, now)
end

-- check decides a step without saving it.
local function check(s, units)
  loadStep(s)
  if units > 1 and s.algorithm == concurrency then
    units = 1
  end
  s.allowed = s.check(s, now, units)
end

-- wentBack reports whether a check must be saved although it charged nothing: the
-- counter would otherwise stay in the future, or list what it has dropped.
local function wentBack(s)
  if s.listed then
    return s.wasList and (s.back or s.dropped)
  end
  return s.at < s.before
end

-- keep saves a step that isn't charged, if need be.
local function keep(s)
  if s.found and wentBack(s) then
    save(s, now)
  end
end

-- chargeStep saves the charge of a step that check has admitted.
local function chargeStep(s)
  if not s.found then
    s.generation = generation
  end
  if s.listed then
    s.algorithm.add(s, now, cost, holder)
  end
  save(s, now)
  s.charged = true
end

local function take()
  local admitted = flag == 0
  for i = 1, plan.count do
    local s = plan[i]
    check(s, cost)
    admitted = admitted and (s.allowed or i > plan.enforced)
  end
  for i = 1, plan.count do
    local s = plan[i]
    if admitted and s.allowed and cost > 0 then
      chargeStep(s)
    else
      if s.allowed and cost > 0 and not s.listed then -- undo the charge
        check(s, 0)
      end
      keep(s)
    end
  end
end

-- giveStep gives units back to a step's counter, unless it is another one by now. A
-- slot is its holder's in any counter.
local function giveStep(s, taken)
  if s.found and (s.generation == s.taken or s.algorithm == concurrency) then
    s.algorithm.give(s, taken, now, s.give, holder)
    save(s, now)
  else
    s.check(s, now, 0)
    keep(s)
  end
end

-- oweStep charges units as debt.
local function oweStep(s)
  if not s.found then
    s.generation = generation
  end
  s.algorithm.owe(s, s, now, -s.give)
  save(s, now)
end

local function give()
  for i = 1, plan.count do
    local s = plan[i]
    loadStep(s)
    if s.give > 0 then
      giveStep(s, takens[i])
    else
      oweStep(s)
    end
  end
end

-- renew extends holders. Steps of other algorithms aren't sent.
local function renew()
  for i = 1, plan.count do
    local s = plan[i]
    loadStep(s)
    if s.found then
      s.allowed = concurrency.renew(s, now, holder)
      save(s, now)
    else
      concurrency.check(s, now, 0)
    end
  end
end

local function reset(keys)
  for i = 1, plan.count do
    local s = plan[i]
    loadStep(s)
    s.at, s.n, s.m, s.x, s.run = 0, 0, 0, 0, 0
    local value = values[s.key]
    local record = position(value, s.id)
    if record then
      values[s.key] = #value > recordSize and value:sub(1, record - 1) .. value:sub(record + recordSize)
      changed[s.key] = true
    end
    if s.list > 0 then
      call('DEL', s.listKey)
    end
  end
  for i = 1, plan.subjects do
    if changed[i] and not values[i] then
      call('DEL', keys[base + i])
      changed[i] = false
    end
  end
end

local operations = { take, give, renew, reset }

-- perform performs one operation and returns its answer.
local function perform(keys, message, clockTime)
  parse(keys, message, clockTime)
  if plan.calendar and kind <= 2 and not inPeriods() then
    return pack('<d', now)
  end
  if kind == 2 and flag > 0 and call('DEL', keys[base + flag]) == 0 then
    return ''
  end
  open(keys, base, plan.subjects)
  operations[kind](keys)
  close(keys, base, plan.subjects, now)
  return answer()
end

-- run is what clients call.
local function run(keys, args)
  if not call then
    bind()
  end
  local time, answers = clock(), {}
  for i = 1, #args do
    answers[i] = perform(keys, args[i], time)
  end
  return answers
end
