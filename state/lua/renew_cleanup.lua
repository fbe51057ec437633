-- Prolong the cleanup lease and read what the cleanup waits for; end an iteration whose lease is over.
-- KEYS: 1 record, 2 due set
-- ARGV: 1 instance, 2 token, 3 lease ms, 4 grace ms,
--   5 settled ('1': every order the cleanup itself sent got its answer, so `fence` goes back to what it was)
-- Returns {'ok', now, end of a live iteration lease or 0, running task id or '', fence, last known order ids,
--   how and when the iteration ended that was in flight at the stop or ''}, or {'lost'}.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'cleanup_token', 'lease_token', 'lease_until', 'running_task_id', 'fence',
  'cleanup_fence_base', 'cleanup_until', 'order_ids', 'keeps', 'server', 'flight_end')
if r[1] ~= ARGV[2] then return {'lost'} end
-- A lease that is over stays lost, even if nobody else took it: what was authorised under it is over too.
if tonumber(r[7]) <= now then return {'lost'} end
if is_another_server(r[9], r[10]) then return {'lost'} end
local cleanup_until = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'cleanup_until', cleanup_until)
redis.call('ZADD', KEYS[2], cleanup_until + tonumber(ARGV[4]), ARGV[1])
local fence = tonumber(r[5] or '0')
if ARGV[5] == '1' and r[6] then
  fence = tonumber(r[6])
  redis.call('HSET', KEYS[1], 'fence', fence)
  redis.call('HDEL', KEYS[1], 'cleanup_fence_base')
end
local live = 0
if r[2] then
  if tonumber(r[3]) > now then
    live = tonumber(r[3])
  else
    -- Taken over: a commit that comes after all must not lower a fence that has become this cleanup's.
    redis.call('HDEL', KEYS[1], 'lease_token', 'lease_until', 'lease_kind', 'running_task_id')
    if not r[11] then
      r[11] = 'lease_ran_out ' .. r[3]
      redis.call('HSET', KEYS[1], 'flight_end', r[11])
    end
  end
end
return {'ok', now, live, r[4] or '', fence, r[8] or '', r[11] or ''}
