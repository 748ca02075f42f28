-- Finds, or gives, the number of a master's generation; see cluster_generations.py.
--
-- KEYS  1 all numbers (hash: node id -> number and replication id, when it was given)
-- ARGV  1 node id   2 its replication id   3 1 if it has taken over for another, as far as it
--       remembers   4 its epoch in the cluster
-- Returns the number
--
-- A node forgets that it took over when it is restarted, or has been without replicas for long;
-- then its replication id is a new one, too, and the number stays.

local known = redis.call('HGET', KEYS[1], ARGV[1])
local number = ARGV[3] == '1' and ARGV[4] or '0'
if known then
  local before, replication = string.match(known, '^(%d+) (%S+)$')
  if replication == ARGV[2] or ARGV[3] == '0' then
    number = before
  end
end
redis.call('HSET', KEYS[1], ARGV[1], number .. ' ' .. ARGV[2])
return number
