--[[
  pause: let nobody claim from this queue.

  KEYS[1]  meta  hash  paused
  Returns  "paused"
  Keeps    the first write takes no memory, so that it works on a full server
]]
redis.call('HDEL', KEYS[1], 'paused')
redis.call('HSET', KEYS[1], 'paused', 1)
return 'paused'
