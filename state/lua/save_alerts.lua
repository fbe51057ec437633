-- Save what the alerts process remembers, and put what it has to send into the targets' outboxes, in one step.
-- KEYS: 1 lease, 2 memory, 3.. outboxes
-- ARGV: 1 token, 2 memory (JSON), 3 most messages that wait in an outbox, then for each message the number of its
--   outbox (from 1) and the message (JSON)
-- Returns {'saved'} or {'lost'}: another process holds the lease, nothing changed.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost'} end
redis.call('SET', KEYS[2], ARGV[2])
for i = 4, #ARGV, 2 do
  local outbox = KEYS[2 + tonumber(ARGV[i])]
  redis.call('RPUSH', outbox, ARGV[i + 1])
  redis.call('LTRIM', outbox, -tonumber(ARGV[3]), -1)
end
return {'saved'}
