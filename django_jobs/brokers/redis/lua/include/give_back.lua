-- give_back(id): from flight to its old place in ready (true); to dead when it was revoked meanwhile. Needs die(),
-- place_of() and the names jobs, ready, inflight, redeliv, revoked, dead, reasons, moment.
local function give_back(id)
  redis.call('HDEL', inflight, id)
  local message = redis.call('HGET', jobs, id)
  if not message then return false end
  if redis.call('HDEL', revoked, id) == 1 then
    die(dead, reasons, redeliv, id, moment, 'revoked')
    return false
  end
  redis.call('ZADD', ready, (place_of(message)), id)
  return true
end
