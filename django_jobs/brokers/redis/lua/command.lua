--[[
  command: leave a command for a worker that is heard of.

  KEYS[1]  workers  zset    worker, by the moment until which its word counts
  KEYS[2]  orders   prefix  of the list of commands that wait for a worker: orders .. worker
  ARGV[1]  worker   text
  ARGV[2]  text     bytes
  Returns  1; 0 when it is not heard of
  Keeps    what is not fetched goes with the worker's time
]]
--- @include "now"
local call = redis.call
local orders = KEYS[2] .. ARGV[1]
local lasts = call('ZSCORE', KEYS[1], ARGV[1])
if not lasts or tonumber(lasts) <= now() then return 0 end
call('RPUSH', orders, ARGV[2])
call('PEXPIREAT', orders, string.format('%.0f', lasts))
return 1
