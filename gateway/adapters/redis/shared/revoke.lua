-- Remembers one revocation; an entry that is there already only ever gets stricter.
--
-- KEYS  1 all revocations (hash: kind and subject -> JSON)
-- ARGV  1 kind and subject   2 the entry   3 its before   4 its expires_at   5 now, s

local known = redis.call('HGET', KEYS[1], ARGV[1])
local entry, expires_at = ARGV[2], tonumber(ARGV[4])
if known then
  local old, new = cjson.decode(known), cjson.decode(entry)
  expires_at = math.max(expires_at, old.expires_at)
  if old.before >= tonumber(ARGV[3]) then
    new = old
  end
  new.expires_at = expires_at
  entry = cjson.encode(new)
end
redis.call('HSET', KEYS[1], ARGV[1], entry)
-- The whole lives as long as its longest entry; a shorter one is pruned by whoever reads it.
local left = expires_at - tonumber(ARGV[5])
if left > 0 and redis.call('TTL', KEYS[1]) < left then
  redis.call('EXPIRE', KEYS[1], left)
end
