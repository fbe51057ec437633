-- Allow the holder of the cleanup lease to send an order that closes the position, signed with the time returned.
-- KEYS: 1 record, 2 generations, 3 intents
-- ARGV: 1 token, 2 window ms, 3 margin ms, 4.. one 'level:role' for each order about to be sent
-- Returns {'ok', now, generation for each} or {'refused', why}; {'refused', 'unsaved', what} as in authorize.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'cleanup_token', 'cleanup_until', 'fence', 'lease_token', 'lease_until',
  'cleanup_fence_base', 'keeps', 'server', 'unsaved')
if r[1] ~= 'stopping' and r[1] ~= 'failed' then return {'refused', 'phase'} end
if r[2] ~= ARGV[1] then return {'refused', 'token'} end
if tonumber(r[3]) <= now then return {'refused', 'lease over'} end
if is_another_server(r[8], r[9]) then return {'refused', 'state server restarted'} end
if r[5] and tonumber(r[6]) > now then return {'refused', 'an iteration is in flight'} end
local unsaved = await_new_levels(KEYS[1], KEYS[2], r[8], now) or r[10]
if unsaved then return {'refused', 'unsaved', unsaved} end
local fence = tonumber(r[4] or '0')
if not r[7] then redis.call('HSET', KEYS[1], 'cleanup_fence_base', fence) end
redis.call('HSET', KEYS[1], 'fence', math.max(fence, now + tonumber(ARGV[2]) + tonumber(ARGV[3])))
local answer = {'ok', now}
for i = 4, #ARGV do
  local count = redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
  local generation = (count + generations_skipped(KEYS[2])) % 1024
  redis.call('HSET', KEYS[3], ARGV[i] .. ':' .. generation, now)
  answer[#answer + 1] = generation
end
return answer
