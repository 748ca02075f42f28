-- Sets how many connections users have on one channel through one holder (a replica's lease).
--
-- KEYS  1 the channel's members (hash: user -> connections on all replicas; '' -> their sum)
--       2 their names (sorted set, all with score 0, for paging)
--       3 what the holder holds of it (hash: user -> connections)
-- ARGV  1 1 where the holder holds something already    2… user, count, user, count …
-- Returns { 0 } when the holder's part is not there any more, and nothing was changed; otherwise
-- { 1, number of users the holder holds now, users who joined, users who left }: those whose
-- first connection on any replica came, or whose last one went.
--
-- What others have ended keeps an empty field for a while: a holder that was asleep, and does
-- not know that its lease is over, must not put anything here that nobody would take out.

if redis.call('HGET', KEYS[3], '') or (ARGV[1] == '1' and redis.call('EXISTS', KEYS[3]) == 0) then
  return { 0 }
end
local joined, left, steps = {}, {}, 0
for i = 2, #ARGV, 2 do
  local user = ARGV[i]
  local step = ARGV[i + 1] - (redis.call('HGET', KEYS[3], user) or 0)
  if step ~= 0 then
    if ARGV[i + 1] == '0' then
      redis.call('HDEL', KEYS[3], user)
    else
      redis.call('HSET', KEYS[3], user, ARGV[i + 1])
    end
    local total = redis.call('HINCRBY', KEYS[1], user, step)
    if total <= 0 then
      redis.call('HDEL', KEYS[1], user)
      redis.call('ZREM', KEYS[2], user)
      left[#left + 1] = user
    elseif total == step then
      redis.call('ZADD', KEYS[2], 0, user)
      joined[#joined + 1] = user
    end
    steps = steps + step
  end
end
if steps ~= 0 then
  redis.call('HINCRBY', KEYS[1], '', steps)
end
if #left > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
end
return { 1, redis.call('HLEN', KEYS[3]), joined, left }
