-- Numbers are doubles, which hold every integer below 2^53. Times are whole
-- microseconds since the Unix epoch, as Redis's clock has them, so that they stay
-- below 2^53 until the year 2255. Units are at most 10^12, and 2^52 with debts.

-- Functions of the server, which don't exist yet while the library is loaded. The
-- first call of an operation sets them.
local floor, min, max, pack, unpack, call

local function bind()
  floor, min, max = math.floor, math.min, math.max
  pack, unpack, call = struct.pack, struct.unpack, redis.call
end

local exactBelow = 2 ^ 53

-- skew is ratelimit.Skew.
local skew = 5e6

-- Bounds of package ratelimit.
local maxLimit = 1e12
local maxCost = 1e6
local maxDebt = 2 ^ 52

-- never is later than every instant.
local never = 1 / 0

-- divide returns a ÷ b rounded down. It is exact: the quotient of two integers
-- below 2^53 that isn't an integer is never rounded up to one.
local function divide(a, b)
  return floor(a / b)
end

-- mulDiv returns quotient and rest of a × b ÷ c, without rounding. A quotient
-- above bound may be returned as any number above bound. a is below 2^53, b below
-- 2^42 and c at most 2^45: a period of 366 days is less.
--
-- Products above 2^53 are divided digit by digit to the base 2^7, from the highest
-- digit of b. The remainder and the next digit stay below 2^53:
-- 2^45 × 2^7 + 2^45 × (2^7 - 1).
local function mulDiv(a, b, c, bound)
  local product = a * b
  if product < exactBelow then
    local quotient = divide(product, c)
    return quotient, product - quotient * c
  end
  if product / c > (bound + 2) * (1 + 1e-9) then
    return bound + 1, 0
  end
  local whole = divide(a, c)
  a = a - whole * c
  local quotient, rest = 0, 0
  local digit = 2 ^ 35
  while digit >= 1 do
    local value = rest * 128 + a * (floor(b / digit) % 128)
    local q = divide(value, c)
    quotient, rest = quotient * 128 + q, value - q * c
    digit = digit / 128
  end
  return whole * b + quotient, rest
end

-- clock returns the server's time.
local function clock()
  local time = call('TIME')
  return time[1] * 1e6 + time[2]
end
