--[[
  epoch: name the data of this prefix.

  KEYS[1]  epoch  text  written once: it goes with the data
  ARGV[1]  name   text  a name that nobody has, for data that have none
  Returns  the name of the data
  Keeps    the first write takes no memory, so that a worker may start on a full server
]]
local epoch = KEYS[1]
redis.call('PERSIST', epoch)
redis.call('SETNX', epoch, ARGV[1])
return redis.call('GET', epoch)
