-- Publishes messages of one channel: position, storage and sending in one step, or none of it.
--
-- KEYS  1 the channel's state (hash: e epoch, o top offset, g generation, r run)   2 its stream
--       3 the idempotency key, only with a single message
-- ARGV  1 pub/sub channel   2 epoch to start with if there is none
--       3 stream length     4 stream lifetime, s    5 state lifetime, s
--       6 idempotency lifetime, s    7 fingerprint of the message    8 message id
--       9 generation of the data that this Redis has, or ""
--       10 run of its process, or ""; on a cluster behind the node's id and a colon
--       11 and on: the bodies, in order
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

local known = redis.call('HMGET', KEYS[1], 'e', 'g', 'r')
local epoch, began_in, generation = known[1], known[2] or '', ARGV[9]
local earlier_run, run = known[3] or '', ARGV[10]
local goes_on = generation == '' or began_in == '' or began_in == generation
if not goes_on then
  local earlier, now = tonumber(began_in), tonumber(generation)
  goes_on = earlier and now and earlier > now
end
if not epoch or not goes_on then
  -- The state was lost or has lapsed, or a replica took over that may lack the last messages:
  -- their offsets must not be given again. Readers find the same new epoch by themselves, see
  -- generations.py. What is left of the stream belongs to the old epoch, and its entry ids would
  -- be higher than the offset that comes now.
  -- HSET goes first: a full Redis refuses the first write that needs memory, but none that
  -- come after a write that needs none, as DEL is.
  epoch = epoch and string.sub(redis.sha1hex(epoch .. ' ' .. generation), 1, 8) or ARGV[2]
  redis.call('HSET', KEYS[1], 'e', epoch, 'o', '0', 'g', generation, 'r', run)
  redis.call('DEL', KEYS[2])
elseif run ~= '' and earlier_run ~= run then
  -- Whoever began it may not have known the generation.
  redis.call('HSET', KEYS[1], 'g', began_in == '' and generation or began_in, 'r', run)
  local node, earlier_node = string.match(run, '^(.*):'), string.match(earlier_run, '^(.*):')
  if earlier_run ~= '' and earlier_node == node then
    -- Redis was started again, perhaps from a file that lacks the last messages. Their offsets are
    -- not given again: a leap that no channel's messages can fill tells everybody who listens
    -- that something may be missing there. What comes from another node has moved, and is whole.
    redis.call('HINCRBY', KEYS[1], 'o', '1000000000')
  end
elseif began_in == '' and generation ~= '' then
  redis.call('HSET', KEYS[1], 'g', generation)
end
local count = #ARGV - 10
local before = redis.call('HINCRBY', KEYS[1], 'o', count) - count
redis.call('EXPIRE', KEYS[1], ARGV[5])

local is_stored = ARGV[3] ~= '0'
for i = 1, count do
  local offset = string.format('%.0f', before + i)
  local body = ARGV[10 + i]
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
