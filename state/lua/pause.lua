-- Close the gate of a run for a while: no order is authorised until it is resumed, and what rests is withdrawn.
-- KEYS: 1 record, 2 due set, 3 events, 4 wake list
-- ARGV: 1 instance, 2 epoch ('0' for whichever runs), 3 who, 4 reason
-- Returns {'paused', epoch, now} when this call did it, {'joined', epoch, since when} when it was paused before, else
--   {phase as it is, or 'stale' for another run's epoch, epoch, now} with nothing changed; {'damaged', 0, now}.
-- include parts/damage.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 and damage(KEYS[1]) then return {'damaged', 0, now} end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'paused', 'keeps')
local phase, epoch = r[1] or 'stopped', tonumber(r[2] or '0')
if ARGV[2] ~= '0' and tonumber(ARGV[2]) ~= epoch then return {'stale', epoch, now} end
if phase ~= 'running' then return {phase, epoch, now} end
if r[3] then return {'joined', epoch, tonumber(r[3])} end
redis.call('HSET', KEYS[1], 'paused', now, 'paused_by', ARGV[3], 'pause_reason', ARGV[4], 'quiet', 0, 'resends', 0)
if r[4] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'pause ' .. now) end
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'event', 'paused', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[3], 'reason', ARGV[4])
redis.call('LPUSH', KEYS[4], ARGV[1])
redis.call('LTRIM', KEYS[4], 0, 999)
return {'paused', epoch, now}
