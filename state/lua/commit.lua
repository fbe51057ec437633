-- End an iteration: save its state, release its lease, say what to publish.
-- KEYS: 1 record, 2 due set, 3 trace, 4 released list, 5 intents, 6 stop key, 7 events, 8 wake list, 9 bookings
-- ARGV: 1 instance, 2 token, 3 resolved ('1': every request got its answer), 4 strategy state ('' keeps the old one),
--   5 interval ms, 6 task id of the next scheduled iteration, 7 error ('' for none), 8 delay ms after an error, 9 grace ms,
--   10 ids of the own orders believed open now, comma separated ('-' keeps the old list),
--   11 how much before it is due an iteration may run, ms, 12 books ('' keeps the old ones), 13 daily result
--   ('' keeps the old one), 14 intents that are still open (JSON; '-' keeps them all), 15 why the run stops itself
--   ('' : it does not), 16 policy of that stop (JSON), 17 most bookings that wait, 18 of a paused run: '1' when the iteration found no own
--   order and none that could still arrive, '0' when it did ('': it did not look), 19 how long to wait before the
--   next look for what rests, ms, 20 what the iteration saw when it looked at the exchange ('' : it did not),
--   21 what made the run stop itself, for programs, 22.. bookings for the ledger (JSON)
-- Returns {'running', epoch, tick, countdown ms (-1: the pending message stands), wake-up wanted 0|1, errors},
--   {'stopping'} (also for failed or stopped) or {'lost'}: another task holds the lease, nothing changed.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'lease_token', 'lease_kind', 'epoch', 'tick', 'due', 'fence_base', 'again', 'seq',
  'lease_until', 'stop_policy', 'keeps', 'asked', 'running_task_id', 'paused', 'withdrawn')
if r[2] ~= ARGV[2] then return {'lost'} end
redis.call('HDEL', KEYS[1], 'lease_token', 'lease_until', 'lease_kind', 'running_task_id', 'again')
-- Once the lease is over a cleanup may have sent an order of its own: the fence is no longer ours to pull back.
if ARGV[3] == '1' and tonumber(r[10]) > now then redis.call('HSET', KEYS[1], 'fence', r[7]) end
if ARGV[10] ~= '-' then redis.call('HSET', KEYS[1], 'order_ids', ARGV[10]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'state', ARGV[4]) end
if ARGV[12] ~= '' then redis.call('HSET', KEYS[1], 'books', ARGV[12]) end
if ARGV[13] ~= '' then redis.call('HSET', KEYS[1], 'daily', ARGV[13]) end
if ARGV[20] ~= '' then redis.call('HSET', KEYS[1], 'look', ARGV[20]) end
if ARGV[14] ~= '-' then
  redis.call('DEL', KEYS[5])
  for name, at in pairs(cjson.decode(ARGV[14])) do redis.call('HSET', KEYS[5], name, at) end
end
-- In one step with the books: what they have counted, the ledger will.
for i = 22, #ARGV do redis.call('XADD', KEYS[9], 'MAXLEN', '~', ARGV[17], '*', 'booking', ARGV[i]) end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 200, '*', 'event', 'committed', 'epoch', r[4], 'tick', r[5], 'seq', r[9],
  'token', ARGV[2], 'resolved', ARGV[3], 'failed', ARGV[7] ~= '' and 1 or 0, 'at_ms', now)
local errors = 0
if ARGV[7] ~= '' then
  errors = redis.call('HINCRBY', KEYS[1], 'errors', 1)
  redis.call('HSET', KEYS[1], 'last_error', ARGV[7], 'last_error_at', now)
else
  redis.call('HSET', KEYS[1], 'errors', 0)
end
redis.call('HSET', KEYS[1], 'committed_at', now)
if r[1] ~= 'running' then
  redis.call('HSETNX', KEYS[1], 'flight_end', 'committed ' .. now)
  if ARGV[15] ~= '' and r[1] ~= 'stopped' then
    -- Another stop came first. This one may ask for more, never for less, and calls a restart off, as in request_stop.
    local calls_off = redis.call('HDEL', KEYS[1], 'restart') == 1
    if calls_off and r[12] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now) end
    local old, new = cjson.decode(r[11]), cjson.decode(ARGV[16])
    local more = (new.cancel_orders and not old.cancel_orders) or (new.close_position and not old.close_position)
      or (new.unwind and not old.unwind)
    if more then
      local policy = {
        cancel_orders = old.cancel_orders or new.cancel_orders,
        close_position = old.close_position or new.close_position,
        unwind = old.unwind or new.unwind or false,
      }
      redis.call('HSET', KEYS[1], 'attempts', 0, 'stop_policy', cjson.encode(policy), 'asked', (r[13] and r[13] .. '\n' or '')
        .. cjson.encode({by = 'strategy', reason = ARGV[15], at_ms = now, policy = policy}))
      redis.call('HDEL', KEYS[1], 'cleanup_token', 'cleanup_until')
      if r[12] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now) end
      redis.call('ZADD', KEYS[2], now, ARGV[1])
      redis.call('LPUSH', KEYS[8], ARGV[1])
      redis.call('LTRIM', KEYS[8], 0, 999)
    end
  end
  redis.call('LPUSH', KEYS[4], ARGV[2])
  redis.call('PEXPIRE', KEYS[4], 60000)
  return {'stopping'}
end
if ARGV[15] ~= '' then
  -- In one step with the state that led to it: what is decided is not lost with a process.
  redis.call('SET', KEYS[6], ARGV[15])
  redis.call('HSET', KEYS[1], 'phase', 'stopping', 'stop_by', 'strategy', 'stop_reason', ARGV[15], 'stop_policy', ARGV[16],
    'stop_requested_at', now, 'resends', 0, 'attempts', 0,
    'asked', cjson.encode({by = 'strategy', reason = ARGV[15], at_ms = now, policy = cjson.decode(ARGV[16])}),
    'flight', cjson.encode({seq = tonumber(r[9]), kind = r[3], tick = tonumber(r[5]), task_id = r[14] or '',
      lease_until = tonumber(r[10])}), 'flight_end', 'committed ' .. now)
  if r[12] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now) end
  redis.call('ZADD', KEYS[2], now, ARGV[1])
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', 100000, '*', 'event', 'stop_requested', 'instance', ARGV[1], 'epoch', r[4],
    'at_ms', now, 'by', 'strategy', 'reason', ARGV[15], 'cause', ARGV[21])
  redis.call('LPUSH', KEYS[8], ARGV[1])
  redis.call('LTRIM', KEYS[8], 0, 999)
  return {'stopping'}
end
-- Like a stop, a pause takes two looks in a row that find nothing.
local owes_withdrawal = r[15] and not r[16]
if r[15] and ARGV[18] == '0' then
  redis.call('HSET', KEYS[1], 'quiet', 0)
  redis.call('HDEL', KEYS[1], 'withdrawn')
  owes_withdrawal = true
elseif owes_withdrawal and ARGV[18] == '1' and redis.call('HINCRBY', KEYS[1], 'quiet', 1) >= 2 then
  redis.call('HSET', KEYS[1], 'withdrawn', now)
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', 100000, '*', 'event', 'withdrawn', 'instance', ARGV[1], 'epoch', r[4], 'at_ms', now)
  owes_withdrawal = false
end
local tick, due, countdown = tonumber(r[5]), tonumber(r[6]), -1
if ARGV[7] ~= '' then
  -- Soon again whatever the interval, and in place of what is scheduled: it also stands for every wake-up so far.
  tick = tick + 1
  due = now + tonumber(ARGV[8])
  countdown = due - now
elseif r[3] == 'tick' then
  tick = tick + 1
  -- A fixed rate; what is already late starts a new count, so that missed iterations are not made up for.
  due = due + tonumber(ARGV[5])
  if due < now then due = now + tonumber(ARGV[5]) end
  countdown = due - now
elseif due > now + tonumber(ARGV[5]) + tonumber(ARGV[11]) then
  -- The interval was made shorter: what is scheduled would keep the old one. Its message is stale from here on.
  tick = tick + 1
  due = now + tonumber(ARGV[5])
  countdown = due - now
elseif due <= now + tonumber(ARGV[11]) then
  -- The scheduled message may have met this wake-up's lease and gone: send it again.
  countdown = math.max(0, due - now)
end
if countdown >= 0 then
  redis.call('HSET', KEYS[1], 'tick', tick, 'due', due, 'pending_task_id', ARGV[6])
end
local look_at = math.max(due, now) + tonumber(ARGV[9])
-- After an error the back-off holds: a wake-up must not undercut it.
local wake = (r[8] and countdown ~= 0 and ARGV[7] == '') and 1 or 0
if wake == 1 then
  -- Who publishes it may die before: a sweep looks after it as after any message.
  redis.call('HSET', KEYS[1], 'woken', now)
  look_at = math.min(look_at, now + 1000)
end
if owes_withdrawal and ARGV[7] == '' and countdown ~= 0 then
  -- Again at once, or when nothing can arrive any more; a sweep publishes what nobody else does.
  local at = math.max(now + tonumber(ARGV[19]), tonumber(redis.call('HGET', KEYS[1], 'fence') or '0'))
  if at <= now then wake = 1 end
  look_at = math.min(look_at, math.max(at, wake == 1 and now + 1000 or 0))
end
redis.call('ZADD', KEYS[2], look_at, ARGV[1])
return {'running', tonumber(r[4]), tick, countdown, wake, errors}
