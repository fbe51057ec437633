-- Ask for an iteration now, beside the schedule. Many calls before it begins ask for one.
-- KEYS: 1 record, 2 due set, 3 wake list
-- ARGV: 1 instance
-- Returns {'woken'} (a sweep publishes it), {'again'} (one runs: another follows it), {'joined'} (asked for already),
--   {'backing off'} (after an error: the next scheduled one sees it) or {'stale'} (nothing runs).
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'lease_token', 'lease_until', 'woken', 'errors')
if r[1] ~= 'running' then return {'stale'} end
if r[2] and tonumber(r[3]) > now then
  redis.call('HSET', KEYS[1], 'again', 1)
  return {'again'}
end
if tonumber(r[5] or '0') > 0 then return {'backing off'} end
if r[4] then return {'joined'} end
redis.call('HSET', KEYS[1], 'woken', now)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], 0, 999)
return {'woken'}
