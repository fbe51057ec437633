-- Keep the mark price of a market.
-- KEYS: 1 market
-- ARGV: 1 mark price
-- Returns {'kept'}.
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'mark', ARGV[1], 'marked_at', t[1] * 1000 + math.floor(t[2] / 1000))
return {'kept'}
