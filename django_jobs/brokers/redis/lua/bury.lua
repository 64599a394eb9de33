--[[
  bury: from flight to dead, the message kept.

  KEYS[1]  inflight  hash  id -> token, of the consumer that settles
  KEYS[2]  redeliv   hash  id -> deliveries:crashes
  KEYS[3]  revoked   hash  id in flight -> how somebody revoked it
  KEYS[4]  dead      zset  id, by its end
  KEYS[5]  reasons   hash  id -> why it is dead
  ARGV[1]  reason    text
  ARGV[2..]  (id token)*
  Returns  the ids that were not in flight under their token
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "holds"
--- @include "die"
local inflight, redeliv, revoked, dead, reasons, reason = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1]
local moment = now()
local own, lost = holds(inflight, 2, 2)

for _, i in ipairs(own) do
  redis.call('HDEL', inflight, ARGV[i])
  redis.call('HDEL', revoked, ARGV[i])
  die(dead, reasons, redeliv, ARGV[i], moment, reason)
end
return lost
