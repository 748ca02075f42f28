-- Removes marks, except from channels that were marked again.
--
-- KEYS  1 the marks (hash: channel -> token)
-- ARGV  1… channel, token, channel, token …

for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
