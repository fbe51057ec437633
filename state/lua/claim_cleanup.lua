-- Take the cleanup lease of a stopping (or failed) instance.
-- KEYS: 1 record, 2 due set, 3 events, 4 intents, 5 generations
-- ARGV: 1 instance, 2 epoch, 3 token, 4 lease ms, 5 grace ms, 6 who runs it
-- Returns {'claimed', now, attempt, slot, account, config version, stop policy JSON, last known
--   order ids, start of the run, requests to stop (JSON, one a line), the iteration in flight at the first of them (JSON;
--   '': none; '-': not known), receipt as the last attempt left it or '', phase, when the run was paused or ''}, {'busy'} or {'stale', why}.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'cleanup_token', 'cleanup_until', 'slot', 'account',
  'config_version', 'stop_policy', 'order_ids', 'keeps', 'server', 'started_at', 'asked', 'flight', 'outcome', 'stop_by',
  'stop_reason', 'stop_requested_at', 'paused')
if r[1] ~= 'stopping' and r[1] ~= 'failed' then return {'stale', 'phase'} end
if r[2] ~= ARGV[2] then return {'stale', 'epoch'} end
local restarted = is_another_server(r[10], r[11])
if r[3] and tonumber(r[4]) > now and not restarted then return {'busy'} end
if restarted then
  restore(KEYS[1], KEYS[4], KEYS[5], now)
  -- The end of an iteration may be lost, and nothing more is authorised under its lease: the fence is enough.
  redis.call('HDEL', KEYS[1], 'lease_token', 'lease_until', 'lease_kind', 'running_task_id')
end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
local cleanup_until = now + tonumber(ARGV[4])
redis.call('HSET', KEYS[1], 'cleanup_token', ARGV[3], 'cleanup_until', cleanup_until, 'resends', 0)
redis.call('HDEL', KEYS[1], 'cleanup_fence_base')
redis.call('ZADD', KEYS[2], cleanup_until + tonumber(ARGV[5]), ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'event', 'cleanup_claimed', 'instance', ARGV[1], 'epoch', ARGV[2],
  'at_ms', now, 'attempt', attempt, 'by', ARGV[6])
-- A stop that an older version was asked for has only its last request; what is there may be of a run before it.
local is_text, last = pcall(cjson.decode, string.match(r[13] or '', '[^\n]*$'))
if not is_text or type(last) ~= 'table' or (tonumber(last.at_ms) or 0) < tonumber(r[18] or '0') then
  r[14] = '-'
  r[13] = cjson.encode({by = r[16] or '', reason = r[17] or '', at_ms = tonumber(r[18] or now),
    policy = cjson.decode(r[8] or '{}')})
end
return {'claimed', now, attempt, tonumber(r[5] or '0'), r[6] or '', r[7] or '', r[8] or '', r[9] or '', tonumber(r[12] or '0'), r[13],
  r[14] or '-', r[15] or '', r[1], r[19] or ''}
