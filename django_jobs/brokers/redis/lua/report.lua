--[[
  report: say how a worker stands, and fetch what it is told.

  KEYS[1]  workers    zset    worker, by the moment until which its word counts
  KEYS[2]  standings  hash    worker -> what it said last
  KEYS[3]  orders     prefix  of the list of commands that wait for a worker: orders .. worker
  ARGV[1]  worker     text
  ARGV[2]  ttl        int     ms; 0: it leaves
  ARGV[3]  info       bytes
  Returns  the commands, oldest first
  Keeps    who is not heard of for its time is forgotten, with what was said to it
           the first write takes no memory, so that it works on a full server
]]
--- @include "now"
local call = redis.call
local workers, standings, orders = KEYS[1], KEYS[2], KEYS[3]
local worker, ttl, info = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local moment = now()
local lasts = call('ZSCORE', workers, worker)

call('ZREM', workers, worker)
for _, gone in ipairs(call('ZRANGEBYSCORE', workers, '-inf', moment, 'LIMIT', 0, 100)) do
  call('ZREM', workers, gone)
  call('HDEL', standings, gone)
end
call('ZADD', workers, moment + ttl, worker)
call('HSET', standings, worker, info)
-- To the millisecond: the key of the orders may outlive the moment that it ends with.
local waiting = lasts and tonumber(lasts) > moment and call('LRANGE', orders .. worker, 0, -1) or {}
call('DEL', orders .. worker)
return waiting
