-- Note that a feed has heard something of an account just now.
-- KEYS: 1 what was heard of the account
-- ARGV: names of what it was, as in state/hearing.py
-- Returns {'noted'}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- As in listen.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
for _, name in ipairs(ARGV) do
  redis.call('HSET', KEYS[1], name, now)
end
return {'noted'}
