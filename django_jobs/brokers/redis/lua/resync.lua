--[[
  resync: give back what is in flight for a consumer that does not know of it, because a claim's reply was lost.

  KEYS[1]  jobs      hash  id -> message
  KEYS[2]  ready     zset  id, by score
  KEYS[3]  inflight  hash  id -> token, of this consumer
  KEYS[4]  redeliv   hash  id -> deliveries:crashes
  KEYS[5]  revoked   hash  id in flight -> how somebody revoked it
  KEYS[6]  dead      zset  id, by its end
  KEYS[7]  reasons   hash  id -> why it is dead
  KEYS[8]  wake      list  at most one marker
  ARGV[1..]  (id)*  what the consumer knows of
  Returns  the ids that it did not know of
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "wake"
--- @include "die"
--- @include "place"
local jobs, ready, inflight, redeliv = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local revoked, dead, reasons, wake = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local moment, rings = now(), false
--- @include "give_back"

local known, unknown = {}, {}
for _, id in ipairs(ARGV) do known[id] = true end
for _, id in ipairs(redis.call('HKEYS', inflight)) do
  if not known[id] then
    unknown[#unknown + 1] = id
    rings = give_back(id) or rings
  end
end
if rings then wake_up(wake) end
return unknown
