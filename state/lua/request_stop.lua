-- Close the gate: after this no iteration of the run is authorised any more.
-- KEYS: 1 record, 2 stop key, 3 due set, 4 events, 5 wake list
-- ARGV: 1 instance, 2 epoch ('0' for whichever runs), 3 who, 4 reason, 5 policy JSON, 6 mark of a restart: who asks starts the
--   instance again when it is clean, as long as the mark stands ('': the last word, a restart that waits is called off)
-- Returns {'stopping', epoch, now} when this call stopped it, else {phase as it is, epoch, now} with nothing changed
--   ('joined' in place of 'stopping' when a stop is under way already). A further stop may ask for more than the one
--   before it, never for less: then the next cleanup follows both.
--   {'damaged', 0, now} where the record cannot be read.
-- include parts/damage.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 and damage(KEYS[1]) then return {'damaged', 0, now} end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'stop_policy', 'kept', 'keeps', 'lease_token', 'lease_until',
  'lease_kind', 'running_task_id', 'seq', 'tick', 'asked')
local phase, epoch = r[1] or 'stopped', tonumber(r[2] or '0')
if ARGV[2] ~= '0' and tonumber(ARGV[2]) ~= epoch then return {'stale', epoch, now} end
if ARGV[6] == '' then
  -- A crash that forgets this would bring the mark back, and with it a run after a stop that was called clean.
  if redis.call('HDEL', KEYS[1], 'restart') == 1 and r[5] == 'everysec' then
    redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now)
  end
elseif epoch > 0 then redis.call('HSET', KEYS[1], 'restart', ARGV[6]) end
local result, policy = 'stopping', ARGV[5]
if phase ~= 'running' then
  result = phase == 'stopping' and 'joined' or phase
  if phase == 'stopped' and r[4] ~= '1' then return {result, epoch, now} end
  local old, new = cjson.decode(r[3]), cjson.decode(ARGV[5])
  local more = (new.cancel_orders and not old.cancel_orders) or (new.close_position and not old.close_position)
    or (new.unwind and not old.unwind)
  if not more then return {result, epoch, now} end
  policy = cjson.encode({
    cancel_orders = old.cancel_orders or new.cancel_orders,
    close_position = old.close_position or new.close_position,
    unwind = old.unwind or new.unwind or false,
  })
  -- The cleanup under way follows the old policy: its lease ends here.
  redis.call('HDEL', KEYS[1], 'cleanup_token', 'cleanup_until', 'kept')
  if phase == 'stopped' then result = 'stopping' end
end
if phase == 'running' then
  -- For the receipt: what was in flight when the gate closed. A lease that is over is of one that never came back.
  local flight = ''
  if r[6] then
    flight = cjson.encode({seq = tonumber(r[10]), kind = r[8], tick = tonumber(r[11]), task_id = r[9] or '',
      lease_until = tonumber(r[7])})
  end
  redis.call('HSET', KEYS[1], 'flight', flight)
  redis.call('HDEL', KEYS[1], 'flight_end')
  r[12] = nil
end
redis.call('HSET', KEYS[1], 'asked', (r[12] and r[12] .. '\n' or '')
  .. cjson.encode({by = ARGV[3], reason = ARGV[4], at_ms = now, policy = cjson.decode(policy)}))
redis.call('SET', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'phase', phase == 'failed' and 'failed' or 'stopping', 'stop_by', ARGV[3],
  'stop_reason', ARGV[4], 'stop_policy', policy, 'stop_requested_at', now, 'resends', 0, 'attempts', 0)
if r[5] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now) end
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'stop_requested', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', ARGV[3], 'reason', ARGV[4])
redis.call('LPUSH', KEYS[5], ARGV[1])
redis.call('LTRIM', KEYS[5], 0, 999)
return {result, epoch, now}
