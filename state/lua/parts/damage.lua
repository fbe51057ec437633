-- Says what is wrong with a record, nil when nothing is. What is checked is what the scripts read without asking.
local function damage(record)
  local kind = redis.call('TYPE', record).ok
  if kind == 'none' then return 'the record is missing' end
  if kind ~= 'hash' then return 'the record is no hash but a ' .. kind end
  local required = {phase = '%l+', epoch = '%d+'}
  local phase = redis.call('HGET', record, 'phase') or 'missing'
  if phase ~= 'running' and phase ~= 'stopping' and phase ~= 'failed' and phase ~= 'stopped' then
    return 'phase is ' .. string.sub(phase, 1, 40)
  end
  if phase == 'running' then
    -- A cleanup finds out itself where these are missing.
    required.account = '.+'
    required.slot = '%d+'
    for _, name in ipairs({'tick', 'due', 'seq', 'errors', 'started_at'}) do required[name] = '%-?%d+' end
  end
  for name, pattern in pairs(required) do
    local value = redis.call('HGET', record, name)
    if not value then return name .. ' is missing' end
    if not string.match(value, '^' .. pattern .. '$') then return name .. ' is ' .. string.sub(value, 1, 40) end
  end
  local numbers = {'lease_until', 'cleanup_until', 'fence', 'fence_base', 'cleanup_fence_base', 'resends', 'attempts',
    'committed_at', 'reach', 'slot', 'stop_requested_at', 'stopped_at', 'last_error_at', 'tick', 'due', 'seq', 'errors', 'started_at',
    'paused', 'withdrawn', 'quiet'}
  local values = redis.call('HMGET', record, unpack(numbers))
  for i, name in ipairs(numbers) do
    if values[i] and not string.match(values[i], '^%-?%d+$') then
      return name .. ' is ' .. string.sub(values[i], 1, 40)
    end
  end
  if phase ~= 'running' then
    local policy = redis.call('HGET', record, 'stop_policy')
    local is_json, said = pcall(cjson.decode, policy)
    if (policy or phase ~= 'stopped') and not (is_json and type(said) == 'table') then
      return 'stop_policy cannot be read'
    end
  end
  return nil
end
