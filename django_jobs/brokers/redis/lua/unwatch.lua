--[[
  unwatch: one less waits for the end of a job.

  KEYS[1]  waiters  hash  id -> how many wait for its end
  ARGV[1]  id       16 bytes
  Returns  how many still wait
  Keeps    a field of waiters is above 0
]]
local waiters, id = KEYS[1], ARGV[1]
local count = tonumber(redis.call('HGET', waiters, id) or 0) - 1
if count > 0 then
  redis.call('HINCRBY', waiters, id, -1)
  return count
end
redis.call('HDEL', waiters, id)
return 0
