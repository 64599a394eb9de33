--[[
  release: from flight back to ready at the old place, or to scheduled.

  KEYS[1]  jobs      hash  id -> message
  KEYS[2]  ready     zset  id, by score
  KEYS[3]  sched     zset  char(rank) .. id, by eta
  KEYS[4]  inflight  hash  id -> token, of the consumer that settles
  KEYS[5]  redeliv   hash  id -> deliveries:crashes
  KEYS[6]  revoked   hash  id in flight -> how somebody revoked it
  KEYS[7]  dead      zset  id, by its end
  KEYS[8]  reasons   hash  id -> why it is dead
  KEYS[9]  wake      list  at most one marker
  ARGV[1]  delay     int   ms; 0 for at once
  ARGV[2]  started   0|1   had they begun to run? That counts as a delivery
  ARGV[3..]  (id token rank)*
  Returns  the ids that were not in flight under their token
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           a job that was revoked while it was held does not run again: it is dead
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "score"
--- @include "schedule"
--- @include "wake"
--- @include "holds"
--- @include "counts"
--- @include "die"
--- @include "place"
local call = redis.call
local jobs, ready, sched, inflight, redeliv = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local revoked, dead, reasons, wake = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local delay, started, moment, rings = tonumber(ARGV[1]), ARGV[2] == '1', now(), false
--- @include "give_back"

-- A job with a delay has a new moment: the one at which it becomes due.
local function put_off(id, rank)
  local eta = moment + delay
  local message = call('HGET', jobs, id)
  call('HDEL', inflight, id)
  if not message then return false end
  call('HSET', jobs, id, '1' .. score(rank, eta) .. string.sub(message, 19))
  return schedule(sched, rank, id, eta)
end

local own, lost = holds(inflight, 3, 3)
for _, i in ipairs(own) do
  local id, back = ARGV[i], nil
  if delay > 0 and call('HEXISTS', revoked, id) == 0 then
    back = put_off(id, tonumber(ARGV[i + 2]))
  else
    back = give_back(id)
  end
  rings = back or rings
  if started and call('ZSCORE', dead, id) == false then add_counts(redeliv, id, false) end
end
if rings then wake_up(wake) end
return lost
