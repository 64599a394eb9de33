--[[
  enqueue: make jobs ready, or scheduled when they have an eta.

  KEYS[1]  jobs      hash  id -> message: version, 17-digit score, flag, body
  KEYS[2]  ready     zset  id, by score
  KEYS[3]  sched     zset  char(rank) .. id, by eta
  KEYS[4]  wake      list  at most one marker
  KEYS[5]  meta      hash  since: the moment from which on the queue has data
  ARGV[1..]  (id rank eta body)*  16 bytes; 100 - priority; ms, or "" for at once; bytes
  Returns  "new" when the queue had no data (so nobody may know its name yet), else "known"; then one digit for each
           job: 1 added, 0 known already
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           a consumer that sleeps has a marker waiting when there is something in ready
]]
--- @include "now"
--- @include "score"
--- @include "wake"
local call = redis.call
local jobs, ready, sched, wake, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local moment = now()
local added, due, later, rings = {}, {}, {}, false
local places = {} -- of what is due at once, by rank: hundreds of jobs share one

for i = 1, #ARGV, 4 do
  local id, rank, eta = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local place = not eta and places[rank]
  if not place then
    place = score(tonumber(rank), eta or moment)
    if not eta then places[rank] = place end
  end
  if call('HSETNX', jobs, id, '1' .. place .. '-' .. ARGV[i + 3]) == 0 then
    added[#added + 1] = '0'
  else
    added[#added + 1] = '1'
    if eta and eta > moment then
      later[#later + 1] = eta
      later[#later + 1] = string.char(rank) .. id
    else
      due[#due + 1] = place
      due[#due + 1] = id
    end
  end
end

if #due > 0 then call('ZADD', ready, unpack(due)) end
if #later > 0 then
  -- A new one that is the earliest now: sleepers have to set their alarm anew.
  local earliest = call('ZRANGE', sched, 0, 0)[1]
  call('ZADD', sched, unpack(later))
  rings = call('ZRANGE', sched, 0, 0)[1] ~= earliest
end
if #due > 0 or rings then wake_up(wake) end
return {call('HSETNX', meta, 'since', moment) == 1 and 'new' or 'known', table.concat(added)}
