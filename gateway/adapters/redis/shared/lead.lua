-- Takes, prolongs or gives up the lead: who archives for all replicas.
--
-- KEYS  1 the lead (the name of its holder)   2 the marks (hash: channel -> token)
-- ARGV  1 holder   2 lease, ms; 0 gives it up   3 lifetime of marks that nobody comes for, s
-- Returns 1 while the lead is the holder's, otherwise 0

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
redis.call('PSETEX', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
