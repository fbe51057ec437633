-- Look at one instance that is due for a sweep and say what has to be published for it.
-- KEYS: 1 record, 2 due set, 3 backlog
-- ARGV: 1 instance, 2 task id for a new message, 3 first resend after ms, 4 longest resend ms, 5 grace ms
-- Returns {} (nothing to do), {'iterate', epoch, tick (-1: a wake-up), account}, {'cleanup', epoch, pending task id}
--   or {'damaged', what is wrong}.
-- include parts/restart.lua
-- include parts/damage.lua
-- include parts/backlog.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score or tonumber(score) > now then return {} end
local wrong = damage(KEYS[1])
if wrong then return {'damaged', wrong} end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'tick', 'due', 'lease_token', 'lease_until', 'cleanup_token',
  'cleanup_until', 'resends', 'pending_task_id', 'woken', 'again', 'keeps', 'server',
  'paused', 'withdrawn', 'account', 'queue')
local resends = tonumber(r[9] or '0')
-- Each further message waits longer, so that a backlog is not made worse by its own repair.
local resend_at = now + math.min(tonumber(ARGV[4]), tonumber(ARGV[3]) * 2 ^ math.min(resends, 20))
local in_flight = r[5] and tonumber(r[6]) > now
if r[1] == 'running' then
  if in_flight then
    redis.call('ZADD', KEYS[2], tonumber(r[6]) + tonumber(ARGV[5]), ARGV[1])
    return {}
  end
  if tonumber(r[4]) > now then
    -- A wake-up that nobody has claimed; `again` is left over where a holder died before it could publish one.
    -- So is a pause whose orders are not known to be gone.
    if r[11] or r[12] or (r[15] and not r[16]) then
      redis.call('HSET', KEYS[1], 'resends', resends + 1)
      redis.call('ZADD', KEYS[2], math.min(resend_at, tonumber(r[4]) + tonumber(ARGV[5])), ARGV[1])
      return {'iterate', tonumber(r[2]), -1, r[17] or ''}
    end
    redis.call('ZADD', KEYS[2], tonumber(r[4]) + tonumber(ARGV[5]), ARGV[1])
    return {}
  end
  local patience = backlog(KEYS[3], r[18], now)
  local waits_until = tonumber(r[4]) + tonumber(ARGV[5]) + patience
  if r[10] and patience > 0 and waits_until > now then
    -- Looked at before that, too: all may have been late only once, as after an outage, and this message be lost.
    redis.call('ZADD', KEYS[2], math.min(waits_until, now + math.max(2000, math.floor(patience / 4))), ARGV[1])
    return {}
  end
  redis.call('HSET', KEYS[1], 'resends', resends + 1, 'pending_task_id', ARGV[2])
  redis.call('ZADD', KEYS[2], resend_at, ARGV[1])
  return {'iterate', tonumber(r[2]), tonumber(r[3]), r[17] or ''}
end
if r[1] == 'stopping' or r[1] == 'failed' then
  if r[7] and tonumber(r[8]) > now and not is_another_server(r[13], r[14]) then
    redis.call('ZADD', KEYS[2], tonumber(r[8]) + tonumber(ARGV[5]), ARGV[1])
    return {}
  end
  redis.call('HSET', KEYS[1], 'resends', resends + 1)
  redis.call('ZADD', KEYS[2], resend_at, ARGV[1])
  return {'cleanup', tonumber(r[2]), r[10] or ''}
end
redis.call('ZREM', KEYS[2], ARGV[1])
return {}
