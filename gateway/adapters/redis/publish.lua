-- Publishes messages of one channel: position, storage and sending in one step, or none of it.
--
-- KEYS  1 the channel's state (hash: e epoch, o top offset)   2 its stream
--       3 the idempotency key, only with a single message
-- ARGV  1 pub/sub channel   2 epoch to start with if there is none
--       3 stream length     4 stream lifetime, s    5 state lifetime, s
--       6 idempotency lifetime, s    7 fingerprint of the message    8 message id
--       9 and on: the bodies, in their order
-- Returns { 0, epoch, top offset }, the offset being that of the last message;
-- { 1, id, epoch, offset } when the key had been used for this very message and nothing new was
-- sent; { 2 } when it had been used for another message.
--
-- The caller names the candidate epoch, because a script may not make up random values that
-- it writes. Offsets go through string.format: Lua would print large ones in exponents.

local key = KEYS[3]
if key then
  local earlier = redis.call('HMGET', key, 'f', 'i', 'e', 'o')
  if earlier[1] then
    if earlier[1] ~= ARGV[7] then
      return { 2 }
    end
    return { 1, earlier[2], earlier[3], earlier[4] }
  end
end

local epoch = redis.call('HGET', KEYS[1], 'e')
if not epoch then
  -- The state was lost or has lapsed. What is left of the stream belongs to the old epoch,
  -- and its entry ids would be higher than the offset that comes now.
  -- HSET goes first: a full Redis refuses the first write that needs memory, but none that
  -- come after a write that needs none, as DEL is.
  epoch = ARGV[2]
  redis.call('HSET', KEYS[1], 'e', epoch)
  redis.call('DEL', KEYS[2])
end
local count = #ARGV - 8
local before = redis.call('HINCRBY', KEYS[1], 'o', count) - count
redis.call('EXPIRE', KEYS[1], ARGV[5])

local is_stored = ARGV[3] ~= '0'
for i = 1, count do
  local offset = string.format('%.0f', before + i)
  local body = ARGV[8 + i]
  if is_stored then
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'm', body)
  end
  redis.call('PUBLISH', ARGV[1], 'g1:' .. offset .. ':' .. epoch .. ':' .. body)
end
if is_stored then
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end

local top = string.format('%.0f', before + count)
if key then
  redis.call('HSET', key, 'f', ARGV[7], 'i', ARGV[8], 'e', epoch, 'o', top)
  redis.call('EXPIRE', key, ARGV[6])
end
return { 0, epoch, top }
