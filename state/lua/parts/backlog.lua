-- How late iterations begin for want of a free worker, so that a sweep can tell a message that waits from one that is lost.
-- Each repeat of one that waits costs a worker's time: the backlog would be kept alive by its own repair.
local function backlog(key, now)
  local found = redis.pcall('HMGET', key, 'late', 'until')
  local late, till = tonumber(found[1] or ''), tonumber(found[2] or '')
  return late and till and till > now and math.min(late, 60000) or 0
end
-- The longest of two seconds: workers are not equally late. Who claims nothing keeps nobody waiting for longer.
local function note_backlog(key, late, now)
  if late > 500 and late > backlog(key, now) then redis.pcall('HSET', key, 'late', late, 'until', now + 2000) end
end
