-- Begin a run of an instance.
-- KEYS: 1 record, 2 stop key, 3 config, 4 released list, 5 due set, 6 events, 7 wake list, 8 instances, 9 intents,
--   10 bookings
-- ARGV: 1 instance, 2 config version, 3 config JSON, 4 slot, 5 account, 6 what a failed run may have left
--   ('': nothing; else its epoch, a colon, and the ids of its own orders left as somebody was shown them), 7 who,
--   8 what the state server keeps (as in state/durability.py), 9 how long after its permission a request may arrive, ms,
--   10 most bookings that wait, 11 booking of the failed run's receipt ('': none), 12 the run comes after this epoch,
--   13 mark of the restart that this is ('': none)
-- Returns {'started', epoch, now}; else {phase as it is, epoch}, {'cleaning', epoch} while a cleanup of a failed
--   instance runs, {'changed', epoch} where it has left something else by now, or {'called_off', epoch} where
--   the restart's mark is gone: then nothing has changed.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local phase = redis.call('HGET', KEYS[1], 'phase') or 'stopped'
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if phase ~= 'stopped' and not (phase == 'failed' and ARGV[6] ~= '') then
  return {phase, epoch}
end
if ARGV[13] ~= '' and redis.call('HGET', KEYS[1], 'restart') ~= ARGV[13] then return {'called_off', epoch} end
local cleanup_until = tonumber(redis.call('HGET', KEYS[1], 'cleanup_until') or '0')
if phase == 'failed' and cleanup_until > now then return {'cleaning', epoch} end
if phase == 'failed' then
  -- Whoever accepts what is left has seen it: not more, and not of another run.
  if ARGV[6] ~= epoch .. ':' .. (redis.call('HGET', KEYS[1], 'left') or '?') then return {'changed', epoch} end
  if ARGV[11] ~= '' then redis.call('XADD', KEYS[10], 'MAXLEN', '~', ARGV[10], '*', 'booking', ARGV[11]) end
end
epoch = math.max(epoch, tonumber(ARGV[12])) + 1
local last = redis.call('HMGET', KEYS[1], 'keeps', 'server', 'fence')
if phase == 'failed' and is_another_server(last[1], last[2]) then
  redis.call('HSET', KEYS[1], 'fence', math.max(tonumber(last[3] or '0'), now + tonumber(ARGV[9])))
end
if phase == 'failed' then
  -- Nobody told what became of these, and a list may not show them yet: the next cleanup asks for them by id.
  local strays = redis.call('HGET', KEYS[1], 'strays') or ''
  for _, name in ipairs(redis.call('HKEYS', KEYS[9])) do strays = strays .. (strays == '' and '' or ',') .. name end
  redis.call('HSET', KEYS[1], 'strays', strays)
else
  redis.call('HDEL', KEYS[1], 'strays')
end
-- `fence` stays: a forced start may follow a run whose last request can still arrive.
redis.call('HDEL', KEYS[1], 'lease_token', 'lease_until', 'lease_kind', 'running_task_id', 'pending_task_id', 'again',
  'woken', 'cleanup_token', 'cleanup_until', 'attempts', 'outcome', 'state', 'books', 'last_error', 'stop_by', 'stop_reason',
  'stop_policy', 'kept', 'stop_requested_at', 'stopped_at', 'unsaved', 'asked', 'flight', 'flight_end', 'left', 'damage',
  'paused', 'paused_by', 'pause_reason', 'withdrawn', 'quiet', 'restart', 'look')
redis.call('HSET', KEYS[1], 'phase', 'running', 'epoch', epoch, 'tick', 0, 'seq', 0, 'due', now, 'resends', 0, 'errors', 0,
  'started_at', now, 'config_version', ARGV[2], 'slot', ARGV[4], 'account', ARGV[5],
  'keeps', ARGV[8], 'reach', ARGV[9], 'server', ARGV[8] == 'always' and '' or server_id())
if ARGV[8] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'start ' .. now) end
redis.call('DEL', KEYS[2], KEYS[4], KEYS[9])
redis.call('SET', KEYS[3], ARGV[3])
redis.call('SADD', KEYS[8], ARGV[1])
redis.call('ZADD', KEYS[5], now, ARGV[1])
redis.call('XADD', KEYS[6], 'MAXLEN', '~', 100000, '*', 'event', 'started', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[7], 'config_version', ARGV[2], 'account', ARGV[5],
  'accepted', phase == 'failed' and ARGV[6] or '')
redis.call('LPUSH', KEYS[7], ARGV[1])
redis.call('LTRIM', KEYS[7], 0, 999)
return {'started', epoch, now}
