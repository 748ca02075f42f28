-- Begins or prolongs a holder's lease, and writes down on which channels it holds something.
--
-- KEYS  1 all leases (sorted set: holder -> end, ms)
--       2 the table (hash: id, a name that it gets when it is new; seen, the last renewal, ms)
--       3 the holder's channels (sorted set, all with score 0, for paging)
-- ARGV  1 holder   2 lease, ms   3 1 to begin it, 0 to prolong it   4 a name for a new table
--       5 how many of the following channels are new; the others are given up
-- Returns { 1, or 0 where the lease is over and nothing was changed; the table's id }
--
-- That the lease is good and the channels are written down is one step: whatever a holder puts
-- into a channel after that will be found by those who end it.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local id, seen = unpack(redis.call('HMGET', KEYS[2], 'id', 'seen'))
if ARGV[3] == '0' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return { 0, id or '' }
end
if seen and now - seen > lease / 2 then
  -- Nobody came for longer than one replica alone would stay away: Redis was out of reach, and
  -- the first to be back must not take the others for dead.
  for _, holder in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), holder)
  end
end
id = id or ARGV[4]
redis.call('HSET', KEYS[2], 'id', id, 'seen', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), ARGV[1])
for i = 6, #ARGV do
  if i < 6 + ARGV[5] then
    redis.call('ZADD', KEYS[3], 0, ARGV[i])
  else
    redis.call('ZREM', KEYS[3], ARGV[i])
  end
end
return { 1, id }
