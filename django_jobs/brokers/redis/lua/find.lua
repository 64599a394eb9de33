--[[
  find: say where a job is.

  KEYS[1]  jobs       hash    id -> message
  KEYS[2]  ready      zset    id, by score
  KEYS[3]  sched      zset    char(rank) .. id, by eta
  KEYS[4]  consumers  zset    consumer, by end of lease
  KEYS[5]  dead       zset    id, by its end
  KEYS[6]  reasons    hash    id -> why it is dead
  KEYS[7]  flights    prefix  of what a consumer has in flight: flights .. consumer
  ARGV[1]  id         16 bytes
  Returns  nothing; or place, message, end of a dead job or "", its reason or the consumer that holds it or ""
  Keeps    everything as it is
]]
--- @include "place"
--- @include "member"
local call = redis.call
local jobs, ready, sched, consumers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local dead, reasons, flights, id = KEYS[5], KEYS[6], KEYS[7], ARGV[1]

local message = call('HGET', jobs, id)
if not message then return {} end
if call('ZSCORE', ready, id) then return {'ready', message, '', ''} end
if member_of(sched, message, id) then return {'scheduled', message, '', ''} end
local moment = call('ZSCORE', dead, id)
if moment then return {'dead', message, moment, call('HGET', reasons, id) or ''} end
for _, consumer in ipairs(call('ZRANGE', consumers, 0, -1)) do
  if call('HEXISTS', flights .. consumer, id) == 1 then return {'in_flight', message, '', consumer} end
end
return {'in_flight', message, '', ''}
