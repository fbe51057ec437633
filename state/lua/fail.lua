-- Take an instance for failed whose state is missing or damaged: nothing is placed, and cleanups begin.
-- KEYS: 1 record, 2 stop key, 3 due set, 4 events, 5 wake list, 6 instances, 7 generations, 8 trace
-- ARGV: 1 instance, 2 what is wrong ('': only if this script finds something), 3 least epoch, 4 policy of the stop (JSON),
--   5 how long after its permission a request may arrive, where the record does not say, ms,
--   6 epoch and 7 phase that whoever says what is wrong has seen
-- Returns {'failed', epoch, why} or {'sound'}: then nothing has changed.
-- include parts/damage.lua
-- include parts/restart.lua
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local found = damage(KEYS[1])
local why = ARGV[2] ~= '' and ARGV[2] or found
if not why then return {'sound'} end
local r = {}
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  r = redis.call('HMGET', KEYS[1], 'phase', 'epoch', 'slot', 'account', 'fence', 'reach', 'lease_token', 'lease_until', 'keeps',
    'config_version', 'started_at', 'books', 'state', 'daily', 'order_ids', 'tick', 'seq', 'running_task_id', 'strays',
    'stop_policy', 'asked')
end
-- A cleanup is on its way already.
if not found and (r[1] == 'stopping' or r[1] == 'failed') then return {'sound'} end
-- What is wrong is wrong with what was seen: another run may have begun since.
if not found and (r[1] ~= ARGV[7] or r[2] ~= ARGV[6]) then return {'sound'} end
local function whole(value) return tonumber(value and string.match(value, '^%d+$') or nil) end
local function last_traced()
  if redis.call('TYPE', KEYS[8]).ok ~= 'stream' then return nil end
  local entry = redis.call('XREVRANGE', KEYS[8], '+', '-', 'COUNT', 1)[1]
  for i = 1, entry and #entry[2] or 0, 2 do
    if entry[2][i] == 'epoch' then return whole(entry[2][i + 1]) end
  end
end
-- Numbers of runs are not given again: receipts and what the ledger has are told apart by them.
local epoch = math.max(whole(r[2]) or last_traced() or 0, tonumber(ARGV[3]))
local fence = math.max(whole(r[5]) or 0, now + (whole(r[6]) or tonumber(ARGV[5])))
if found then
  -- What a cleanup can use stays, if it can be read.
  redis.call('DEL', KEYS[1])
  local function keep(name, value) if value then redis.call('HSET', KEYS[1], name, value) end end
  keep('slot', whole(r[3]))
  keep('account', r[4])
  keep('reach', whole(r[6]))
  if r[7] and whole(r[8]) then
    -- With what its commit reads.
    redis.call('HSET', KEYS[1], 'lease_token', r[7], 'lease_until', r[8], 'tick', whole(r[16]) or 0, 'seq', whole(r[17]) or 0)
    keep('running_task_id', r[18])
  end
  keep('keeps', r[9])
  keep('config_version', r[10])
  keep('started_at', whole(r[11]))
  keep('books', r[12])
  keep('state', r[13])
  keep('daily', r[14])
  keep('order_ids', r[15])
  keep('strays', r[19])
end
local policy, asked = cjson.decode(ARGV[4]), ''
if r[1] == 'stopping' or r[1] == 'failed' then
  -- The stop that was under way may have been asked for more, as in request_stop.
  local is_text, before = pcall(cjson.decode, r[20])
  for name, wanted in pairs(is_text and type(before) == 'table' and before or {}) do
    if wanted == true and policy[name] ~= nil then policy[name] = true end
  end
  if r[21] then asked = r[21] .. '\n' end
end
-- What an earlier run left, and told of it, is not what this one leaves.
redis.call('HDEL', KEYS[1], 'cleanup_token', 'cleanup_until', 'kept', 'pending_task_id', 'flight', 'flight_end', 'left', 'outcome')
redis.call('HSET', KEYS[1], 'phase', 'failed', 'epoch', epoch, 'fence', fence, 'fence_base', fence, 'attempts', 0, 'resends', 0,
  'stop_by', 'state check', 'stop_reason', why, 'stop_policy', cjson.encode(policy), 'stop_requested_at', now, 'damage', why,
  'server', r[9] == 'always' and '' or server_id(), 'asked',
  asked .. cjson.encode({by = 'state check', reason = why, at_ms = now, policy = policy}))
if r[9] == 'everysec' then redis.call('HSET', KEYS[1], 'unsaved', 'stop ' .. now) end
-- Client order ids of a state that is lost are not given again, as far as one can tell.
if #r == 0 then redis.call('HSET', KEYS[7], 'skipped', math.floor(now / 1000) % 1024) end
redis.call('SET', KEYS[2], why)
redis.call('SADD', KEYS[6], ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'stop_requested', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'by', 'state check', 'reason', why)
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'event', 'alert', 'instance', ARGV[1], 'epoch', epoch,
  'at_ms', now, 'alert', 'state_damaged', 'says', ARGV[1] .. ': ' .. why .. '; its orders are cleaned up')
redis.call('LPUSH', KEYS[5], ARGV[1])
redis.call('LTRIM', KEYS[5], 0, 999)
return {'failed', epoch, why}
