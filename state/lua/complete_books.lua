-- Save the books of a run that has ended clean, with the fills that came last, and what its receipt says of them.
-- KEYS: 1 record, 2 intents, 3 bookings
-- ARGV: 1 epoch, 2 books, 3 daily result ('' keeps the old one), 4 intents that are still open (JSON),
--   5 most bookings that wait, 6 receipt ('' keeps the old one), 7.. bookings for the ledger (JSON), which are taken in any case
-- Returns {'saved'}, or {'stale'} when another run has begun: then nothing has changed.
for i = 7, #ARGV do redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'booking', ARGV[i]) end
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch')
if r[1] ~= 'stopped' or r[2] ~= ARGV[1] then return {'stale'} end
redis.call('HSET', KEYS[1], 'books', ARGV[2])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'outcome', ARGV[6]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'daily', ARGV[3]) end
redis.call('DEL', KEYS[2])
for name, at in pairs(cjson.decode(ARGV[4])) do redis.call('HSET', KEYS[2], name, at) end
return {'saved'}
