-- Keep a newer order book of a market. Several feeds may see the same market, one of them late.
-- KEYS: 1 market
-- ARGV: 1 exchange time of the book's last change, ms, 2 book (JSON), 3 how old, ms, a newer book may be to be replaced
--   by an older one: an exchange that was set back begins anew
-- Returns {'kept'} or {'older'}: then nothing has changed.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'changed_at', 'received_at')
if r[1] and tonumber(r[1]) > tonumber(ARGV[1]) and now - tonumber(r[2]) < tonumber(ARGV[3]) then return {'older'} end
redis.call('HSET', KEYS[1], 'changed_at', ARGV[1], 'received_at', now, 'book', ARGV[2])
return {'kept'}
