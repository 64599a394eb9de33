--[[
  revoke: stop a job that waits; note it down when it is in flight.

  KEYS[1]  jobs     hash  id -> message
  KEYS[2]  ready    zset  id, by score
  KEYS[3]  sched    zset  char(rank) .. id, by eta
  KEYS[4]  redeliv  hash  id -> deliveries:crashes
  KEYS[5]  revoked  hash  id in flight -> how somebody revoked it
  KEYS[6]  dead     zset  id, by its end
  KEYS[7]  reasons  hash  id -> why it is dead
  ARGV[1]  id       16 bytes
  ARGV[2]  how      0|1   of one in flight: 1 interrupts it, 0 asks it to stop
  Returns  where it was: "ready", "scheduled", "in_flight" or "dead"; "" when it is not known
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
]]
--- @include "now"
--- @include "die"
--- @include "place"
--- @include "member"
local call = redis.call
local jobs, ready, sched, redeliv = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local revoked, dead, reasons, id = KEYS[5], KEYS[6], KEYS[7], ARGV[1]

local message = call('HGET', jobs, id)
if not message then return '' end
if call('ZSCORE', dead, id) then return 'dead' end
local place, member = 'in_flight', member_of(sched, message, id)
if call('ZREM', ready, id) == 1 then
  place = 'ready'
elseif member then
  call('ZREM', sched, member)
  place = 'scheduled'
end
if place == 'in_flight' then
  if ARGV[2] == '1' or not call('HGET', revoked, id) then call('HSET', revoked, id, ARGV[2]) end
else
  die(dead, reasons, redeliv, id, now(), 'revoked')
end
return place
