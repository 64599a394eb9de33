--[[
  lost: find jobs that are in no place; mend: make them ready.

  KEYS[1]  jobs       hash    id -> message
  KEYS[2]  ready      zset    id, by score
  KEYS[3]  sched      zset    char(rank) .. id, by eta
  KEYS[4]  dead       zset    id, by its end
  KEYS[5]  consumers  zset    consumer, by end of lease
  KEYS[6]  flights    prefix  of what a consumer has in flight: flights .. consumer
  KEYS[7]  wake       list    at most one marker
  ARGV[1]  mend       0|1
  ARGV[2..]  (id)*    16 bytes
  Returns  those of the ids that have a message and are nowhere
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
]]
--- @include "wake"
--- @include "place"
--- @include "member"
local call = redis.call
local jobs, ready, sched, dead, consumers, flights = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local wake, mend = KEYS[7], ARGV[1] == '1'
local holders = call('ZRANGE', consumers, 0, -1)

local function is_somewhere(id, message)
  if call('ZSCORE', ready, id) or call('ZSCORE', dead, id) or member_of(sched, message, id) then
    return true
  end
  for _, consumer in ipairs(holders) do
    if call('HEXISTS', flights .. consumer, id) == 1 then return true end
  end
  return false
end

local found = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local message = call('HGET', jobs, id)
  if message and not is_somewhere(id, message) then
    found[#found + 1] = id
    if mend then call('ZADD', ready, (place_of(message)), id) end
  end
end
if mend and #found > 0 then wake_up(wake) end
return found
