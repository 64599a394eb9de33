--[[
  expired: name the consumers whose lease has run out.

  KEYS[1]  consumers  zset  consumer, by end of lease
  Returns  the consumers, the longest silent first
  Keeps    everything as it is
]]
--- @include "now"
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', now()))
