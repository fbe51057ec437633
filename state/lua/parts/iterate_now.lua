-- Have a running instance iterate now: after the iteration that holds the lease, else by a sweep. After an error the
-- back-off holds, as for any wake-up.
local function iterate_now(record, due_set, wake_list, instance, now)
  local r = redis.call('HMGET', record, 'lease_token', 'lease_until', 'errors')
  if r[1] and tonumber(r[2]) > now then
    redis.call('HSET', record, 'again', 1)
  elseif tonumber(r[3] or '0') == 0 then
    redis.call('HSET', record, 'woken', now, 'resends', 0)
    redis.call('ZADD', due_set, now, instance)
    redis.call('LPUSH', wake_list, instance)
    redis.call('LTRIM', wake_list, 0, 999)
  end
end
