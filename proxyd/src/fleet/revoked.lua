-- Tells of revoked tokens: what is known already changes nothing, and nobody reads it again.
--
-- KEYS[1]  a sorted set: the rows, by until when each is remembered
-- KEYS[2]  a number, raised with each change
-- KEYS[3]  a sorted set: the rows that the last numbers brought, by their number
-- ARGV     the time in seconds, how many numbers KEYS[3] goes back, then for each row until when it is remembered, and itself

local set, number, news = KEYS[1], KEYS[2], KEYS[3]
local fresh = {}
for at = 3, #ARGV, 2 do
  if redis.call('ZADD', set, ARGV[at], ARGV[at + 1]) == 1 then
    fresh[#fresh + 1] = ARGV[at + 1]
  end
end
redis.call('ZREMRANGEBYSCORE', set, '-inf', ARGV[1])
-- Where there is no number nobody would read anything.
if #fresh == 0 and redis.call('EXISTS', number) == 1 then
  return 0
end
local now = redis.call('INCR', number)
for _, row in ipairs(fresh) do
  redis.call('ZADD', news, string.format('%.0f', now), row)
end
redis.call('ZREMRANGEBYSCORE', news, '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
return #fresh
