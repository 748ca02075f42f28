-- Finds a holder whose lease has run out, for one of those who ask.
--
-- KEYS  1 all leases (sorted set: holder -> end, ms)
--       2 those that have ended (sorted set: holder -> until when somebody is busy with it, ms)
-- ARGV  1 for how long the caller is busy with it, ms; another one then takes over
-- Returns the holder, or nothing

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local past = { '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 1 }
local holder = redis.call('ZRANGE', KEYS[1], unpack(past))[1]
if holder then
  redis.call('ZREM', KEYS[1], holder)
else
  holder = redis.call('ZRANGE', KEYS[2], unpack(past))[1]
end
if holder then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[1]), holder)
end
return holder
