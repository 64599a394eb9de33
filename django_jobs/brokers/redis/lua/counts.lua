--[[
  counts: say how many jobs are where, and who listens.

  KEYS[1]  jobs       hash  id -> message
  KEYS[2]  ready      zset  id, by score
  KEYS[3]  sched      zset  char(rank) .. id, by eta
  KEYS[4]  dead       zset  id, by its end
  KEYS[5]  consumers  zset  consumer, by end of lease
  KEYS[6]  meta       hash  paused
  Returns  ready, scheduled, in flight, dead, paused, consumers with a good lease, age of the head of ready in ms or -1
  Keeps    everything as it is
]]
--- @include "now"
local call = redis.call
local jobs, ready, sched, dead, consumers, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local moment = now()

local waiting, later, ended = call('ZCARD', ready), call('ZCARD', sched), call('ZCARD', dead)
local head, age = call('ZRANGE', ready, 0, 0, 'WITHSCORES'), -1
if head[2] then age = math.max(0, moment - math.fmod(tonumber(head[2]), 17592186044416)) end
return {
  waiting,
  later,
  call('HLEN', jobs) - waiting - later - ended,  -- a job is in exactly one place, so the rest is in flight
  ended,
  call('HEXISTS', meta, 'paused'),
  call('ZCOUNT', consumers, moment, '+inf'),
  age,
}
