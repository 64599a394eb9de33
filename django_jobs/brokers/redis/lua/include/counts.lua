-- add_counts(redeliv, id, crashed): one delivery more, and one crash more when it was running as its process died.
local function add_counts(redeliv, id, crashed)
  local deliveries, crashes = string.match(redis.call('HGET', redeliv, id) or '0:0', '^(%d+):(%d+)$')
  redis.call('HSET', redeliv, id, (deliveries + 1) .. ':' .. (crashes + (crashed and 1 or 0)))
end
