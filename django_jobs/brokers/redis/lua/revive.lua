--[[
  revive: let dead jobs live again, with a new message.

  KEYS[1]  jobs     hash  id -> message
  KEYS[2]  ready    zset  id, by score
  KEYS[3]  sched    zset  char(rank) .. id, by eta
  KEYS[4]  dead     zset  id, by its end
  KEYS[5]  reasons  hash  id -> why it is dead
  KEYS[6]  wake     list  at most one marker
  ARGV[1..]  (id rank eta body)*  16 bytes; 100 - priority; ms, or "" for at once; bytes
  Returns  the ids that were not dead
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           a consumer that sleeps has a marker waiting when there is something in ready
]]
--- @include "now"
--- @include "score"
--- @include "schedule"
--- @include "wake"
local call = redis.call
local jobs, ready, sched, dead, reasons, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local moment, rings, missing = now(), false, {}

for i = 1, #ARGV, 4 do
  local id, rank, eta = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if call('ZREM', dead, id) == 0 then
    missing[#missing + 1] = id
  else
    local place = score(rank, eta or moment)
    call('HDEL', reasons, id)
    call('HSET', jobs, id, '1' .. place .. '-' .. ARGV[i + 3])
    if eta and eta > moment then
      rings = schedule(sched, rank, id, eta) or rings
    else
      call('ZADD', ready, place, id)
      rings = true
    end
  end
end
if rings then wake_up(wake) end
return missing
