--[[
  unregister: end the lease of a consumer that leaves in order.

  KEYS[1]   jobs       hash  id -> message
  KEYS[2]   ready      zset  id, by score
  KEYS[3]   inflight   hash  id -> token, of this consumer
  KEYS[4]   consumers  zset  consumer, by end of lease
  KEYS[5]   suspects   zset  consumer, by when its lease was first found over
  KEYS[6]   redeliv    hash  id -> deliveries:crashes
  KEYS[7]   revoked    hash  id in flight -> how somebody revoked it
  KEYS[8]   dead       zset  id, by its end
  KEYS[9]   reasons    hash  id -> why it is dead
  KEYS[10]  wake       list  at most one marker
  ARGV[1]   consumer   text
  Returns  the ids that were in flight
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "wake"
--- @include "die"
--- @include "place"
local call = redis.call
local jobs, ready, inflight, consumers, suspects = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local redeliv, revoked, dead, reasons, wake = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local moment, rings = now(), false
--- @include "give_back"

call('ZREM', consumers, ARGV[1])
call('ZREM', suspects, ARGV[1])
local ids = call('HKEYS', inflight)
for _, id in ipairs(ids) do rings = give_back(id) or rings end
if rings then wake_up(wake) end
return ids
