-- Note that what opened or closed a gate is on disk by now.
-- KEYS: 1 record
-- ARGV: 1 what, as it stood before the disk was waited for
-- Returns {'saved'}, or {'changed'} when something else has to be waited for: then nothing has changed.
if redis.call('HGET', KEYS[1], 'unsaved') ~= ARGV[1] then return {'changed'} end
redis.call('HDEL', KEYS[1], 'unsaved')
return {'saved'}
