--[[
  introduce: write down the names of queues, and where their hash tag is.

  KEYS[1]  queues  set   the names of all queues
  KEYS[2]  layout  text  where the hash tag of all keys is
  ARGV[1]  layout  text  where the caller has it; it is written when nobody has said so before
  ARGV[2..]  (name)*
  Returns  where it is
  Keeps    the first write takes no memory, so that a worker may start on a full server
]]
local queues, layout = KEYS[1], KEYS[2]
redis.call('SREM', queues, '')
for i = 2, #ARGV do redis.call('SADD', queues, ARGV[i]) end
redis.call('SETNX', layout, ARGV[1])
return redis.call('GET', layout)
