-- Take a lease, or prolong it: of a feed on an account, of the alerts process that sends.
-- KEYS: 1 lease
-- ARGV: 1 token, 2 lease ms
-- Returns {'held'}, or {'taken'} when somebody else holds it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return {'taken'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'held'}
