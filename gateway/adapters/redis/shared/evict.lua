-- Takes some of what a holder without a lease held out of a channel; see attend.lua.
--
-- KEYS  1 the channel's members   2 their names   3 what the holder holds of it
-- ARGV  1 where to go on: '0', or what the call before returned   2 about how many users
--       3 for how long the holder stays shut out at the end, ms
-- Returns { where to go on, or '' when this was all of it; users who left }
--
-- Whoever comes second finds nothing: two may take out the same holder at the same time.

redis.call('HSET', KEYS[3], '', '0')
local left, steps = {}, 0
local cursor = ARGV[1]
repeat
  local page = redis.call('HSCAN', KEYS[3], cursor, 'COUNT', ARGV[2])
  cursor = page[1]
  local found = page[2]
  for i = 1, #found, 2 do
    local user = found[i]
    -- A field that a table growing under the scan shows twice is gone the second time.
    if user ~= '' and redis.call('HDEL', KEYS[3], user) == 1 then
      local total = redis.call('HINCRBY', KEYS[1], user, -found[i + 1])
      if total <= 0 then
        redis.call('HDEL', KEYS[1], user)
        redis.call('ZREM', KEYS[2], user)
        left[#left + 1] = user
      end
      steps = steps + found[i + 1]
    end
  end
until cursor == '0' or steps > 0
if steps > 0 then
  redis.call('HINCRBY', KEYS[1], '', -steps)
  if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('DEL', KEYS[1])
  end
end
if redis.call('HLEN', KEYS[3]) == 1 then
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  cursor = ''
end
return { cursor, left }
