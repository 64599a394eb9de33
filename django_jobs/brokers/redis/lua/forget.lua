--[[
  forget: drop dead jobs whose end has been recorded.

  KEYS[1]  jobs     hash    id -> message
  KEYS[2]  dead     zset    id, by its end
  KEYS[3]  reasons  hash    id -> why it is dead
  KEYS[4]  waiters  hash    id -> how many wait for its end
  KEYS[5]  done     prefix  of the list that those who wait for an id read: done .. id
  ARGV[1..]  (id)*
  Returns  how many there were
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
]]
--- @include "ended"
local jobs, dead, reasons, waiters, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local gone = {}

for _, id in ipairs(ARGV) do
  if redis.call('ZREM', dead, id) == 1 then
    redis.call('HDEL', reasons, id)
    redis.call('HDEL', jobs, id)
    gone[#gone + 1] = id
  end
end
if #gone > 0 then ended(waiters, done, gone) end
return #gone
