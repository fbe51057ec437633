-- Open the gate of a paused run again, and have it iterate now.
-- KEYS: 1 record, 2 due set, 3 events, 4 wake list
-- ARGV: 1 instance, 2 epoch ('0' for whichever runs), 3 who
-- Returns {'resumed', epoch, now}, else {'running' (not paused), another phase, or 'stale' for another run's epoch,
--   epoch, now} with nothing changed; {'damaged', 0, now}.
-- include parts/damage.lua
-- include parts/iterate_now.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 and damage(KEYS[1]) then return {'damaged', 0, now} end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'paused', 'keeps')
local phase, epoch = r[1] or 'stopped', tonumber(r[2] or '0')
if ARGV[2] ~= '0' and tonumber(ARGV[2]) ~= epoch then return {'stale', epoch, now} end
if phase ~= 'running' or not r[3] then return {phase, epoch, now} end
redis.call('HDEL', KEYS[1], 'paused', 'paused_by', 'pause_reason', 'withdrawn', 'quiet')
-- Nothing is placed before it is on disk: a crash would bring back a pause that says that no order is left.
if r[4] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'resume ' .. now) end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'event', 'resumed', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[3])
iterate_now(KEYS[1], KEYS[2], KEYS[4], ARGV[1], now)
return {'resumed', epoch, now}
