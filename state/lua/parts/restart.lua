-- Told when a run began, kept in its record: what the state server keeps ('always': everything that it has
-- confirmed), which process of it that was, and for how long after its permission a request may arrive.
-- A server that leads again after another one did is the same process with another history, which its
-- `master_replid` tells.
local function server_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. ':'
    .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '')
end

-- Another process of the server, or another server, answers than the one that wrote the record: the last second
-- before that may be missing. What was permitted by then ends by its time, and leases have ended with the process.
local function is_another_server(keeps, id)
  if keeps == 'always' then return false end
  local now = server_id()
  -- A record of an older version knows the process only.
  return id ~= now and id ~= string.match(now, '^%w+')
end

-- Client order ids of the lost second are not given again: this many are left out.
local function generations_skipped(generations)
  return tonumber(redis.call('HGET', generations, 'skipped') or '0')
end

-- Have the disk waited for, unless all levels are known: what may have been lost is guessed from those that are.
local function await_new_levels(record, generations, keeps, now)
  if keeps ~= 'everysec' then return nil end
  local what = nil
  for i = 4, #ARGV do
    if redis.call('HSETNX', generations, ARGV[i], 0) == 1 then what = 'levels ' .. now end
  end
  if what then redis.call('HSET', record, 'unsaved', what) end
  return what
end

-- Since when this server answers, as far as anybody has noticed: what another one permitted was permitted before,
-- or is within the reach. One time for all instances, or each would wait anew when its turn comes.
local function answers_since(now)
  local id = server_id()
  local seen = redis.call('HMGET', 'cleanbook:server', 'id', 'since')
  if seen[1] == id and tonumber(seen[2]) and tonumber(seen[2]) <= now then return tonumber(seen[2]) end
  redis.call('HSET', 'cleanbook:server', 'id', id, 'since', now)
  return now
end

-- Put back what may be missing. Returns the fence behind which nothing of the lost second can still arrive.
local function restore(record, intents, generations, now)
  local r = redis.call('HMGET', record, 'fence', 'reach', 'committed_at', 'started_at')
  local fence = math.max(tonumber(r[1] or '0'), answers_since(now) + tonumber(r[2] or '61000'))
  -- What was lost came after the last thing that is known.
  local since = math.max(tonumber(r[3] or '0'), tonumber(r[4] or '0'))
  local counts, skipped = redis.call('HGETALL', generations), generations_skipped(generations)
  for i = 1, #counts, 2 do
    for each = 1, counts[i] == 'skipped' and 0 or 4 do
      redis.call('HSET', intents, counts[i] .. ':' .. (counts[i + 1] + skipped + each) % 1024, since)
    end
  end
  redis.call('HSET', generations, 'skipped', skipped + 64)
  redis.call('HSET', record, 'fence', fence, 'server', server_id())
  -- What came after the last look at the exchange may be what was lost.
  redis.call('HDEL', record, 'look')
  return fence
end
