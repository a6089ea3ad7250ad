-- Places among so many at the same time, held by leases: who dies gives its places back when these end.
--
-- KEYS[1]  a sorted set: who holds a place, by when its lease ends in milliseconds of this clock
-- ARGV     "take", "look" or "renew", how many places there are, the length of a lease in milliseconds, then whoever asks: one
--          for "take", none for "look", any number for "renew"
-- Says     whether there is a place (1 or 0), the time, then three numbers of which the second is how many places are held

local key, aim, most, lease = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ends = string.format('%.0f', now + lease)

redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
local held = redis.call('ZCARD', key)
local allowed = held < most
if aim == 'take' then
  -- Asked once more by somebody who has its place already.
  if redis.call('ZSCORE', key, ARGV[4]) then
    allowed = true
  elseif allowed then
    redis.call('ZADD', key, ends, ARGV[4])
    redis.call('PEXPIRE', key, string.format('%.0f', lease + 1000))
    held = held + 1
  end
elseif aim == 'renew' then
  -- Also of those that the engine has forgotten: they go on.
  for at = 4, #ARGV do
    redis.call('ZADD', key, ends, ARGV[at])
  end
  redis.call('PEXPIRE', key, string.format('%.0f', lease + 1000))
end
return (allowed and '1 ' or '0 ') .. time[1] .. string.format('%06.0f', tonumber(time[2])) .. ' 0 ' .. string.format('%.0f', held) .. ' 0'
