-- Publishes one message: position, storage and sending in one step, or none of them.
--
-- KEYS  1 the channel's state (hash: e epoch, o top offset)   2 its stream   3 the idempotency key
-- ARGV  1 pub/sub channel   2 body   3 message id   4 epoch to start with if there is none
--       5 stream length     6 stream lifetime, s    7 state lifetime, s
--       8 idempotency lifetime, s, or "" without a key     9 fingerprint of the message
-- Returns { 0, id, epoch, offset }; with 1 in front when the key had been used for this very
-- message and nothing new was sent; { 2 } when it had been used for another message.
--
-- The caller names the candidate epoch, because a script may not make up random values that
-- it writes. Offsets go through string.format: Lua would print large ones in exponents.

if ARGV[8] ~= '' then
  local earlier = redis.call('HMGET', KEYS[3], 'f', 'i', 'e', 'o')
  if earlier[1] then
    if earlier[1] ~= ARGV[9] then
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
  epoch = ARGV[4]
  redis.call('HSET', KEYS[1], 'e', epoch)
  redis.call('DEL', KEYS[2])
end
local offset = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'o', 1))
redis.call('EXPIRE', KEYS[1], ARGV[7])

if tonumber(ARGV[5]) > 0 then
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[5], offset .. '-0', 'm', ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[3], 'f', ARGV[9], 'i', ARGV[3], 'e', epoch, 'o', offset)
  redis.call('EXPIRE', KEYS[3], ARGV[8])
end

redis.call('PUBLISH', ARGV[1], 'g1:' .. offset .. ':' .. epoch .. ':' .. ARGV[2])
return { 0, ARGV[3], epoch, offset }
