-- Note that a record comes from a backup: what it says of the server and of its last run may be long past.
-- KEYS: 1 record, 2 generations
-- ARGV: 1 epoch of the newest run that anything else knows of, 2 client order ids left out
-- Returns {phase, epoch}. The next claim, of a cleanup, sets the fence anew, as after any loss.
local r = redis.call('HMGET', KEYS[1], 'phase', 'epoch')
local phase, epoch = r[1] or 'stopped', tonumber(r[2] or '0')
-- A run that nobody has ended keeps its number, or its cleanup would not be claimed.
if phase == 'stopped' and tonumber(ARGV[1]) > epoch then
  epoch = tonumber(ARGV[1])
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end
redis.call('HSET', KEYS[1], 'keeps', 'unsure', 'server', '')
redis.call('HINCRBY', KEYS[2], 'skipped', ARGV[2])
return {phase, epoch}
