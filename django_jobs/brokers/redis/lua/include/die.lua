-- die(dead, reasons, redeliv, id, moment, reason): put an id that was taken from its place into dead.
local function die(dead, reasons, redeliv, id, moment, reason)
  redis.call('HDEL', redeliv, id)
  redis.call('ZADD', dead, moment, id)
  redis.call('HSET', reasons, id, reason)
end
