-- How late iterations begin for want of a free worker, so that a sweep can tell a message that waits from one that is lost.
-- Each repeat of one that waits costs a worker's time: the backlog would be kept alive by its own repair.
local function backlog_of(key, queue, now)
  local found = redis.pcall('HMGET', key, 'late ' .. queue, 'until ' .. queue)
  local late, till = tonumber(found[1] or ''), tonumber(found[2] or '')
  return late and till and till > now and math.min(late, 60000) or 0
end
-- Queues are not equally late. Who has not been through one yet reckons with the longest.
local function backlog(key, queue, now)
  if queue then return backlog_of(key, queue, now) end
  local longest = 0
  for _, name in ipairs(redis.pcall('HKEYS', key)) do
    local each = string.match(name, '^late (.*)$')
    if each then longest = math.max(longest, backlog_of(key, each, now)) end
  end
  return longest
end
-- The longest of two seconds: workers are not equally late. Who claims nothing keeps nobody waiting for longer.
local function note_backlog(key, queue, late, now)
  if late > 500 and late > backlog_of(key, queue, now) then
    redis.pcall('HSET', key, 'late ' .. queue, late, 'until ' .. queue, now + 2000)
  end
end
