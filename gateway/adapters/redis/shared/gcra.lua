-- Takes one unit from every bucket, or from none of them; or gives one back.
--
-- KEYS  buckets; each is the moment at which it will be full again, in µs on Redis' clock
-- ARGV  1 units to take from each: 1, or -1 to give back
--       2… for each bucket: its burst, and the µs in which one unit comes back
-- Returns 0, or the µs until the take can succeed; then nothing has changed.
--
-- Numbers go through string.format: Lua would write large ones in exponents.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local units = tonumber(ARGV[1])
local full_at = {}
local wait = 0
for i, key in ipairs(KEYS) do
  local unit = tonumber(ARGV[2 * i + 1])
  local capacity = ARGV[2 * i] * unit
  local before = full_at[key]
  if not before then
    -- Never later than an empty bucket is: after its clock was set back, or where another
    -- Redis took over, a bucket would otherwise stay shut for as long as the clocks differ.
    before = math.min(tonumber(redis.call('GET', key) or now), now + capacity)
  end
  full_at[key] = math.max(before, now) + units * unit
  wait = math.max(wait, full_at[key] - now - capacity)
end
if wait > 0 then
  return wait
end

for _, key in ipairs(KEYS) do
  local rest = full_at[key] - now
  if rest > 0 then
    -- A full bucket needs no key. The second more is there so that only the value decides.
    redis.call('PSETEX', key, string.format('%.0f', math.ceil(rest / 1000) + 1000),
      string.format('%.0f', full_at[key]))
  else
    redis.call('DEL', key)
  end
end
return 0
