-- Note that what `sweep` gave out could not be sent: nobody has to wait for an answer to it.
-- KEYS: 1 record, 2 due set
-- ARGV: 1 instance, 2 try again after ms, 3 id of the message that could not be sent ('': a cleanup's, which has none)
-- Returns 1, or 0 where the instance is not on the list any more. A sweep that comes too early finds nothing to do.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not score then return 0 end
-- Else a sweep would take it for one that waits in a backlog.
if redis.call('HGET', KEYS[1], 'pending_task_id') == ARGV[3] then redis.call('HDEL', KEYS[1], 'pending_task_id') end
if tonumber(redis.call('HGET', KEYS[1], 'resends') or '0') > 0 then redis.call('HINCRBY', KEYS[1], 'resends', -1) end
redis.call('ZADD', KEYS[2], math.min(tonumber(score), now + tonumber(ARGV[2])), ARGV[1])
return 1
