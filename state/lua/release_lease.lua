-- Give up a lease, so that another process may take it at once.
-- KEYS: 1 lease
-- ARGV: 1 token
-- Returns {'released'}, or {'lost'} when it is not ours (any more).
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
redis.call('DEL', KEYS[1])
return {'released'}
