-- Give the cleanup lease back before the end, so that another worker takes over at once. The attempt does not count.
-- KEYS: 1 record, 2 due set, 3 wake list
-- ARGV: 1 instance, 2 token, 3 receipt (JSON), 4 ids of the own orders left, comma separated ('?': not known)
-- Returns {'released'} or {'lost'}: another cleanup holds the lease, or it was over, and nothing changed.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'cleanup_token', 'cleanup_until')
if r[1] ~= ARGV[2] or tonumber(r[2]) <= now then return {'lost'} end
-- As after its death: `fence` and intents stand for whatever it had sent.
redis.call('HDEL', KEYS[1], 'cleanup_token', 'cleanup_until')
redis.call('HSET', KEYS[1], 'outcome', ARGV[3], 'left', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'attempts', -1)
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LTRIM', KEYS[3], 0, 999)
return {'released'}
