--[[
  balance: say how many more messages there are than ids in places.

  KEYS[1]  jobs       hash    id -> message
  KEYS[2]  ready      zset    id, by score
  KEYS[3]  sched      zset    char(rank) .. id, by eta
  KEYS[4]  dead       zset    id, by its end
  KEYS[5]  consumers  zset    consumer, by end of lease
  KEYS[6]  flights    prefix  of what a consumer has in flight: flights .. consumer
  Returns  the difference; 0 when every job is somewhere
  Keeps    everything as it is
]]
local call = redis.call
local jobs, ready, sched, dead, consumers, flights = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local left = call('HLEN', jobs) - call('ZCARD', ready) - call('ZCARD', sched) - call('ZCARD', dead)
for _, consumer in ipairs(call('ZRANGE', consumers, 0, -1)) do left = left - call('HLEN', flights .. consumer) end
return left
