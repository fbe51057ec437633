-- Note how a stream of an account stands.
-- KEYS: 1 what was heard of the account
-- ARGV: 1 token of who listens, 2 'begins', 'lives' or 'ends', 3 of one that lives: how long ago the exchange said what
--   came last over it, ms
-- Returns {'noted'}.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- A damaged one would end every stream of the account anew.
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then redis.call('DEL', KEYS[1]) end
-- Two listen for a moment where one has lost the account and does not know it yet. What the one hears tells nothing of
-- the other's stream, and its end is not the other's.
local r = redis.call('HMGET', KEYS[1], 'by', 'since')
local is_its_own = r[1] == ARGV[1]
if ARGV[2] == 'ends' then
  if is_its_own then redis.call('HDEL', KEYS[1], 'since') end
  return {'noted'}
end
if ARGV[2] == 'begins' or not is_its_own or not r[2] then redis.call('HSET', KEYS[1], 'since', now, 'by', ARGV[1]) end
if ARGV[2] == 'lives' then redis.call('HSET', KEYS[1], 'heard', now - tonumber(ARGV[3])) end
return {'noted'}
