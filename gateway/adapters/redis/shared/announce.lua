-- Sets how many connections users have on one replica, and prolongs the replica's lease.
--
-- KEYS  1 all replicas (sorted set: replica -> end of its lease, ms)   2 this replica's users (hash)
-- ARGV  1 replica   2 lease, ms   3… user, count, user, count …; a count of 0 removes the user
--
-- The empty field keeps the hash alive while nobody is connected: that the hash is gone must
-- mean that the lease was lost.

redis.call('HSET', KEYS[2], '', '0')
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '0' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
return 1
