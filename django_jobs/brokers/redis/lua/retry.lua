--[[
  retry: from flight to scheduled, or ready, with a new body and no counts.

  KEYS[1]  jobs      hash  id -> message
  KEYS[2]  ready     zset  id, by score
  KEYS[3]  sched     zset  char(rank) .. id, by eta
  KEYS[4]  inflight  hash  id -> token, of the consumer that settles
  KEYS[5]  redeliv   hash  id -> deliveries:crashes
  KEYS[6]  revoked   hash  id in flight -> how somebody revoked it
  KEYS[7]  dead      zset  id, by its end
  KEYS[8]  reasons   hash  id -> why it is dead
  KEYS[9]  wake      list  at most one marker
  ARGV[1..]  (id token rank delay body)*  delay in ms
  Returns  the ids that were not in flight under their token
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           a job that was revoked while it ran does not run again: it is dead
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "score"
--- @include "schedule"
--- @include "wake"
--- @include "holds"
--- @include "die"
local call = redis.call
local jobs, ready, sched, inflight, redeliv = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local revoked, dead, reasons, wake = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local moment, rings = now(), false
local own, lost = holds(inflight, 1, 5)

for _, i in ipairs(own) do
  local id, rank, delay = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local place = score(rank, moment + delay)
  call('HDEL', inflight, id)
  call('HDEL', redeliv, id)
  call('HSET', jobs, id, '1' .. place .. '-' .. ARGV[i + 4])
  if call('HDEL', revoked, id) == 1 then
    die(dead, reasons, redeliv, id, moment, 'revoked')
  elseif delay > 0 then
    rings = schedule(sched, rank, id, moment + delay) or rings
  else
    call('ZADD', ready, place, id)
    rings = true
  end
end
if rings then wake_up(wake) end
return lost
