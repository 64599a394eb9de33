--[[
  workers: say which workers are heard of, and what they said last.

  KEYS[1]  workers    zset  worker, by the moment until which its word counts
  KEYS[2]  standings  hash  worker -> what it said last
  Returns  (worker, what it said) of each
  Keeps    everything as it is
]]
--- @include "now"
local answer = {}
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now()), '+inf')) do
  answer[#answer + 1] = worker
  answer[#answer + 1] = redis.call('HGET', KEYS[2], worker) or ''
end
return answer
