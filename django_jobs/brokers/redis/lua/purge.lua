--[[
  purge: move a batch of what waits to dead.

  KEYS[1]  ready    zset  id, by score
  KEYS[2]  sched    zset  char(rank) .. id, by eta
  KEYS[3]  redeliv  hash  id -> deliveries:crashes
  KEYS[4]  dead     zset  id, by its end
  KEYS[5]  reasons  hash  id -> why it is dead
  ARGV[1]  limit    int   how many at most
  Returns  how many were moved
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           the first write takes no memory, so that it works on a full server
]]
--- @include "now"
local call = redis.call
local ready, sched, redeliv, dead, reasons, limit = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], tonumber(ARGV[1])
local moment = now()

local ids = call('ZRANGE', ready, 0, limit - 1)
if #ids > 0 then call('ZREMRANGEBYRANK', ready, 0, #ids - 1) end
if #ids < limit then
  local members = call('ZRANGE', sched, 0, limit - #ids - 1)
  if #members > 0 then call('ZREMRANGEBYRANK', sched, 0, #members - 1) end
  for _, member in ipairs(members) do ids[#ids + 1] = string.sub(member, 2) end
end
if #ids == 0 then return 0 end

local ends, why = {}, {}
for n, id in ipairs(ids) do
  ends[2 * n - 1], ends[2 * n] = moment, id
  why[2 * n - 1], why[2 * n] = id, 'purged'
end
call('HDEL', redeliv, unpack(ids))
call('ZADD', dead, unpack(ends))
call('HSET', reasons, unpack(why))
return #ids
