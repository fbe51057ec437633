-- Give a run another configuration, if it still has the one that the change was made from.
-- KEYS: 1 record, 2 config, 3 due set, 4 events, 5 wake list
-- ARGV: 1 instance, 2 epoch, 3 version that the change was made from, 4 new version, 5 new configuration (JSON), 6 who,
--   7 what changed (JSON)
-- Returns {'changed', epoch, now}, or {phase as it is, 'stale' (another run) or 'conflict' (another version), epoch, now}
--   with nothing changed; {'damaged', 0, now}.
-- Only of a running instance: a cleanup works where its run traded, whatever anybody changes.
-- include parts/damage.lua
-- include parts/iterate_now.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 and damage(KEYS[1]) then return {'damaged', 0, now} end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'config_version')
local phase, epoch = r[1] or 'stopped', tonumber(r[2] or '0')
if epoch ~= tonumber(ARGV[2]) then return {'stale', epoch, now} end
if phase ~= 'running' then return {phase, epoch, now} end
if r[3] ~= ARGV[3] then return {'conflict', epoch, now} end
redis.call('SET', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], 'config_version', ARGV[4])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'config_changed', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[6], 'from', ARGV[3], 'to', ARGV[4], 'changed', ARGV[7])
iterate_now(KEYS[1], KEYS[3], KEYS[5], ARGV[1], now)
return {'changed', epoch, now}
