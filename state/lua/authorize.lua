-- Allow the holder of the iteration lease to send requests that create orders, signed with the time returned.
-- KEYS: 1 record, 2 stop key, 3 generations, 4 intents
-- ARGV: 1 token, 2 window ms, 3 margin ms, 4.. one 'level:role' for each order about to be sent
-- Returns {'ok', now, generation for each}, {'refused', why} or {'refused', 'unsaved', what}: until the start and every
--   level are on disk, a server that crashes may forget that they exist, and nobody would look for their orders.
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local r = redis.call('HMGET', KEYS[1], 'phase', 'lease_token', 'lease_until', 'fence', 'unsaved', 'keeps', 'server', 'paused')
if r[1] ~= 'running' then return {'refused', 'phase'} end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'refused', 'stop'} end
if r[8] then return {'refused', 'paused'} end
if r[2] ~= ARGV[1] then return {'refused', 'token'} end
if tonumber(r[3]) <= now then return {'refused', 'lease over'} end
if is_another_server(r[6], r[7]) then return {'refused', 'state server restarted'} end
local unsaved = await_new_levels(KEYS[1], KEYS[3], r[6], now) or r[5]
if unsaved then return {'refused', 'unsaved', unsaved} end
local fence = now + tonumber(ARGV[2]) + tonumber(ARGV[3])
if fence > tonumber(r[4] or '0') then redis.call('HSET', KEYS[1], 'fence', fence) end
local answer = {'ok', now}
for i = 4, #ARGV do
  local count = redis.call('HINCRBY', KEYS[3], ARGV[i], 1)
  local generation = (count + generations_skipped(KEYS[3])) % 1024
  -- Written down before it is sent: whatever happens next, somebody will look for it.
  redis.call('HSET', KEYS[4], ARGV[i] .. ':' .. generation, now)
  answer[#answer + 1] = generation
end
return answer
