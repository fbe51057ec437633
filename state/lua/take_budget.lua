-- Take requests out of an account's token bucket.
-- KEYS: 1 budget
-- ARGV: 1 capacity, 2 refill per second, 3 count, 4 tokens that must be left over (kept for cancels), 5 how long, ms, the
--   requests may wait for their turn, behind those that were promised one before
-- Returns 0 when taken; below 0 when taken, to be sent so many ms from now; else the ms to wait, and nothing was taken.
local t = redis.call('TIME')
local now = t[1] * 1000 + t[2] / 1000
local r = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2]) / 1000
local tokens = math.min(capacity, tonumber(r[1] or ARGV[1]) + math.max(0, now - tonumber(r[2] or now)) * rate)
local count, reserve, patience = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local wait = 0
if tokens - count < reserve then
  wait = math.max(1, math.ceil((count + reserve - tokens) / rate))
  if wait > patience then return wait end
end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens - count), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity / rate) + wait + 1000)
return -wait
