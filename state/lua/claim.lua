-- Take the lease for one iteration.
-- KEYS: 1 record, 2 due set, 3 trace, 4 intents, 5 generations, 6 market, 7 what feeds have heard of the account,
--   8 backlog
-- ARGV: 1 instance, 2 epoch, 3 tick ('-1' for a wake-up), 4 token, 5 task id, 6 lease ms, 7 grace ms, 8 early ms,
--   9 queue that the message came through
-- Returns {'claimed', now, seq, tick, due, started_at, errors, slot, config version, account, strategy state or '',
--   fence, books or '', daily result or '', intents (field, time, field, time ...), when it was paused or '',
--   what the last look at the exchange showed or '', market (as state/market_data.py names it), what was heard (as
--   state/hearing.py names it; both empty where it cannot be read)},
--   {'busy'} (a live lease: `again` is set), {'early', ms to wait} (a hop of a long countdown), {'stale', why}.
-- include parts/restart.lua
-- include parts/backlog.lua
-- The lease is given by then: whatever is wrong there, the iteration has to hear of its lease.
local function what_is_there(hash, ...)
  local found = redis.pcall('HMGET', hash, ...)
  return found.err and {} or found
end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'tick', 'due', 'lease_token', 'lease_until', 'fence',
  'started_at', 'errors', 'slot', 'config_version', 'account', 'state', 'books', 'daily', 'woken', 'again', 'keeps', 'server',
  'paused', 'withdrawn', 'look', 'resends', 'pending_task_id')
if r[1] ~= 'running' then return {'stale', 'phase'} end
if r[2] ~= ARGV[2] then return {'stale', 'epoch'} end
if ARGV[3] ~= '-1' and r[3] ~= ARGV[3] then return {'stale', 'tick'} end
-- What is late is answered by now: an iteration that began after the wake-up has seen what it was for.
-- One that withdraws what rests answers itself, by `withdrawn`.
local owes_withdrawal = r[20] and not r[21]
if ARGV[3] == '-1' and not r[16] and not r[17] and not owes_withdrawal then return {'stale', 'answered'} end
-- Before the lease: a hop that meets a wake-up goes on hopping, or the chain would break here.
if ARGV[3] ~= '-1' and tonumber(r[4]) - now > tonumber(ARGV[8]) then
  return {'early', tonumber(r[4]) - now}
end
if r[5] and tonumber(r[6]) > now then
  redis.call('HSET', KEYS[1], 'again', 1)
  return {'busy'}
end
if is_another_server(r[18], r[19]) then
  r[7] = restore(KEYS[1], KEYS[4], KEYS[5], now)
  r[22] = false
end
-- A repeat that comes before what it repeats tells of a message that is lost, and not of workers. (A run's first message
-- is a sweep's, and no repeat.)
local is_repeat = tonumber(r[23] or '0') > (r[3] == '0' and 1 or 0) and r[24] == ARGV[5]
if ARGV[3] ~= '-1' and not is_repeat then
  note_backlog(KEYS[8], ARGV[9], now - tonumber(r[4]), now)
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local lease_until = now + tonumber(ARGV[6])
redis.call('HSET', KEYS[1], 'lease_token', ARGV[4], 'lease_until', lease_until, 'running_task_id', ARGV[5],
  'lease_kind', ARGV[3] == '-1' and 'wake' or 'tick', 'fence_base', r[7] or 0, 'resends', 0,
  'queue', ARGV[9])
-- Whatever a wake-up was asked for, this iteration sees it.
redis.call('HDEL', KEYS[1], 'woken', 'again')
redis.call('ZADD', KEYS[2], lease_until + tonumber(ARGV[7]), ARGV[1])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 200, '*', 'event', 'claimed', 'epoch', ARGV[2], 'tick', r[3], 'seq', seq,
  'kind', ARGV[3] == '-1' and 'wake' or 'tick', 'token', ARGV[4], 'at_ms', now)
return {'claimed', now, seq, tonumber(r[3]), tonumber(r[4]), tonumber(r[8]), tonumber(r[9]), tonumber(r[10]), r[11],
  r[12], r[13] or '', tonumber(r[7] or '0'), r[14] or '', r[15] or '', redis.call('HGETALL', KEYS[4]), r[20] or '', r[22] or '',
  what_is_there(KEYS[6], 'changed_at', 'received_at', 'book', 'mark', 'marked_at'),
  what_is_there(KEYS[7], 'since', 'heard', 'filled', 'orders of ' .. ARGV[1])}
