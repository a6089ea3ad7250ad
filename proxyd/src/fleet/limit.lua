-- Counts one request of one key under one rule: every limit, or none. The arithmetic is that of shared/src/decide/limit.
--
-- KEYS[1]  a hash with the counters: a field for each form of the rule
-- KEYS[2]  none; or, where something was counted elsewhere until now, where it is noted that it was added
-- ARGV     the form (its first letter says how it counts), "take" or "look", the cost, then of each limit: requests, length in
--          microseconds, capacity; with KEYS[2] then of each limit what is added: three numbers, a fixed window's age its first
-- Says     whether it is allowed (1 or 0), the time, then three numbers of each limit
--
-- Numbers here are doubles, exact up to 2^53. A count has 32 bits and a length 42, so a product of both is kept in two parts.

local UNIT = 2097152 -- 2^21
local STEP = 2199023255552 -- 2^41: a time that can be multiplied at once
local FORMS = 8

-- a (32 bits) times b (42 bits): what is above the unit, and what is below.
local function times(a, b)
  local below = a * (b % UNIT)
  return a * math.floor(b / UNIT) + math.floor(below / UNIT), below % UNIT
end

local function at_most(high, low, other_high, other_low)
  return high < other_high or (high == other_high and low <= other_low)
end

local key, form, takes, cost = KEYS[1], ARGV[1], ARGV[2] == 'take', tonumber(ARGV[3])
local kind = string.sub(form, 1, 1)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local slots, last = {}, 0
local kept = redis.call('HGET', key, form)
if kept then
  local numbers = {}
  for word in string.gmatch(kept, '%d+') do
    numbers[#numbers + 1] = tonumber(word)
  end
  last = numbers[1] or 0
  for at = 2, #numbers - 2, 3 do
    slots[#slots + 1] = { numbers[at], numbers[at + 1], numbers[at + 2] }
  end
end
if now < last then
  now = last
end

-- Once, however often it is brought.
local brings = KEYS[2] and redis.call('HLEN', KEYS[2]) == 0
local last_limit = KEYS[2] and 3 + (#ARGV - 3) / 2 or #ARGV

-- Brings the counters to now, adds what is brought, and asks each limit.
local allowed, keep = true, 0
local limits = {}
for at = 4, last_limit, 3 do
  local requests, per, capacity = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local limit = #limits + 1
  local slot = slots[limit] or { 0, 0, 0 }
  local room = capacity - cost
  local first, second
  if brings then
    first, second = tonumber(ARGV[at + last_limit - 3]), tonumber(ARGV[at + last_limit - 2])
  end
  if kind == 's' then
    local number = (now - math.fmod(now, per)) / per
    if number == slot[1] + 1 then
      slot = { number, slot[3], 0 }
    elseif number > slot[1] then
      slot = { number, 0, 0 }
    end
    if brings then
      slot[3] = math.min(slot[3] + second, capacity)
    end
    local left = per - math.fmod(now, per)
    local free = room - slot[3]
    if free < 0 then
      allowed = false
    else
      local high, low = times(slot[2], left)
      allowed = allowed and at_most(high, low, times(free, per))
    end
  elseif kind == 'f' then
    if now - slot[1] >= per then
      slot = { 0, 0, 0 }
    end
    if brings and second > 0 then
      slot = { math.max(slot[1], now - first), math.min(slot[2] + second, capacity), 0 }
    end
    allowed = allowed and slot[2] <= room
  else
    local elapsed = now - last
    while elapsed > 0 and (slot[1] > 0 or slot[2] > 0) do
      local step = math.min(elapsed, STEP)
      elapsed = elapsed - step
      local high, low = times(requests, step)
      if at_most(slot[1], slot[2], high, low) then
        slot = { 0, 0, 0 }
      elseif slot[2] < low then
        slot = { slot[1] - high - 1, slot[2] + UNIT - low, 0 }
      else
        slot = { slot[1] - high, slot[2] - low, 0 }
      end
    end
    if brings then
      local low = slot[2] + second
      slot = { slot[1] + first + math.floor(low / UNIT), low % UNIT, 0 }
      local high, rest = times(capacity, per)
      if not at_most(slot[1], slot[2], high, rest) then
        slot = { high, rest, 0 }
      end
    end
    allowed = allowed and room >= 0 and at_most(slot[1], slot[2], times(math.max(room, 0), per))
  end
  slots[limit] = slot
  limits[limit] = { requests, per }
end

local changes = takes and (allowed or brings)
if changes then
  local taken = allowed and cost or 0
  for limit, slot in ipairs(slots) do
    local requests, per = limits[limit][1], limits[limit][2]
    local stays
    if kind == 's' then
      slot[3] = slot[3] + taken
      stays = 2 * per - math.fmod(now, per)
    elseif kind == 'f' then
      if slot[2] == 0 then
        slot[1] = now
      end
      slot[2] = slot[2] + taken
      stays = slot[1] + per - now
    else
      local high, low = times(taken, per)
      low = low + slot[2]
      slot[1] = slot[1] + high + math.floor(low / UNIT)
      slot[2] = low % UNIT
      stays = (slot[1] + 1) / requests * UNIT
    end
    keep = math.max(keep, math.ceil(stays / 1000) + 1)
  end
end

local numbers = { string.format('%.0f', now) }
for _, slot in ipairs(slots) do
  for at = 1, 3 do
    numbers[#numbers + 1] = string.format('%.0f', slot[at])
  end
end
local told = table.concat(numbers, ' ')
if changes then
  -- Forms that nobody counts by any more are not kept for ever.
  if not kept and redis.call('HLEN', key) >= FORMS then
    redis.call('DEL', key)
  end
  redis.call('HSET', key, form, told)
  if redis.call('PTTL', key) < keep then
    redis.call('PEXPIRE', key, string.format('%.0f', keep))
  end
  if brings then
    -- As long as what was brought counts: later there is nothing to bring.
    redis.call('HSET', KEYS[2], 'added', '1')
    redis.call('PEXPIRE', KEYS[2], string.format('%.0f', keep))
  end
end
return (allowed and '1 ' or '0 ') .. told
