-- End a cleanup: stopped when it is clean, otherwise tried again later (and failed from the given attempt on, or where
--   the stop was asked for the given time ago).
-- KEYS: 1 record, 2 stop key, 3 due set, 4 events, 5 intents, 6 bookings
-- ARGV: 1 instance, 2 token, 3 'clean' or 'unclean', 4 receipt (JSON), 5 retry after ms, 6 attempts until failed,
--   7 '1' when own orders stay because the policy says so, 8 books ('' keeps the old ones), 9 intents that are
--   still open (JSON; '-' keeps them all), 10 daily result ('' keeps the old one), 11 most bookings that wait,
--   12 receipt as the event tells it ('': the same), 13 ids of the own orders left, comma separated ('?': not known),
--   14 failed when asked for so long ago, ms, 15 what an alert says, 16.. bookings for the ledger (JSON)
-- Returns {'stopped'|'retry'|'failed', now}, {'lost'}, {'early', now} when something can still arrive, or
--   {'unsaved', now, what}: until the stop is on disk, a server that crashes may let the run go on.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'cleanup_token', 'cleanup_until', 'lease_token', 'lease_until', 'fence', 'epoch',
  'attempts', 'phase', 'unsaved', 'keeps', 'server', 'stop_requested_at')
if r[1] ~= ARGV[2] or tonumber(r[2]) <= now then return {'lost'} end
if is_another_server(r[10], r[11]) then return {'lost'} end
local in_flight = r[3] and tonumber(r[4]) > now
if ARGV[3] == 'clean' and (in_flight or tonumber(r[5] or '0') > now) then return {'early', now} end
if ARGV[3] == 'clean' and r[9] then return {'unsaved', now, r[9]} end
redis.call('HDEL', KEYS[1], 'cleanup_token', 'cleanup_until')
redis.call('HSET', KEYS[1], 'outcome', ARGV[4], 'left', ARGV[13])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'books', ARGV[8]) end
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'daily', ARGV[10]) end
if ARGV[9] ~= '-' then
  redis.call('DEL', KEYS[5])
  for name, at in pairs(cjson.decode(ARGV[9])) do redis.call('HSET', KEYS[5], name, at) end
end
for i = 16, #ARGV do redis.call('XADD', KEYS[6], 'MAXLEN', '~', ARGV[11], '*', 'booking', ARGV[i]) end
local result = 'stopped'
if ARGV[3] == 'clean' then
  redis.call('HSET', KEYS[1], 'phase', 'stopped', 'stopped_at', now, 'kept', ARGV[7])
  redis.call('HDEL', KEYS[1], 'lease_token', 'lease_until', 'lease_kind', 'running_task_id', 'pending_task_id', 'again',
    'order_ids')
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  result = 'retry'
  if r[8] == 'failed' or tonumber(r[7]) >= tonumber(ARGV[6]) or now - tonumber(r[12] or now) >= tonumber(ARGV[14]) then
    result = 'failed'
    redis.call('HSET', KEYS[1], 'phase', 'failed')
  end
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[5]), ARGV[1])
end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'finished', 'instance', ARGV[1], 'epoch', r[6],
  'at_ms', now, 'result', result, 'outcome', ARGV[12] ~= '' and ARGV[12] or ARGV[4])
-- Once for each change, not for each attempt.
local alert = (result == 'failed' and r[8] ~= 'failed' and 'stop_failed') or (result == 'stopped' and r[8] == 'failed'
  and 'stop_clean_at_last')
if alert then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'alert', 'instance', ARGV[1], 'epoch', r[6],
    'at_ms', now, 'alert', alert, 'says', ARGV[15])
end
return {result, now}
