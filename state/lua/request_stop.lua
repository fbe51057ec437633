-- Close the gate: after this no iteration of the run is authorised any more.
-- KEYS: 1 record, 2 stop key, 3 due set, 4 events, 5 wake list
-- ARGV: 1 instance, 2 epoch ('0' for whichever runs), 3 who, 4 reason, 5 policy JSON
-- Returns {'stopping', epoch, now} when this call stopped it, else {phase as it is, epoch, now} with nothing changed
--   ('joined' in place of 'stopping' when a stop is under way already).
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local phase = redis.call('HGET', KEYS[1], 'phase') or 'stopped'
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if phase == 'stopping' then return {'joined', epoch, now} end
if phase ~= 'running' then return {phase, epoch, now} end
if ARGV[2] ~= '0' and tonumber(ARGV[2]) ~= epoch then return {'stale', epoch, now} end
redis.call('SET', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'phase', 'stopping', 'stop_by', ARGV[3], 'stop_reason', ARGV[4], 'stop_policy', ARGV[5],
  'stop_requested_at', now, 'resends', 0, 'attempts', 0)
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'stop_requested', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[3], 'reason', ARGV[4])
redis.call('LPUSH', KEYS[5], ARGV[1])
redis.call('LTRIM', KEYS[5], 0, 999)
return {'stopping', epoch, now}
