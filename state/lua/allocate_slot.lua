-- Give an instance its slot of an account's client order ids, once and for ever.
-- KEYS: 1 slots of the account
-- ARGV: 1 instance, 2 preferred slot (1..4095)
-- Returns the slot, or 0 when all 4095 are taken.
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then return tonumber(known) end
local slot = tonumber(ARGV[2])
for _ = 1, 4095 do
  if redis.call('HSETNX', KEYS[1], '#' .. slot, ARGV[1]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[1], slot)
    return slot
  end
  slot = slot % 4095 + 1
end
return 0
