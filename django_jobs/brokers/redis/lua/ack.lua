--[[
  ack: remove finished jobs.

  KEYS[1]  jobs      hash    id -> message
  KEYS[2]  inflight  hash    id -> token, of the consumer that settles
  KEYS[3]  redeliv   hash    id -> deliveries:crashes
  KEYS[4]  revoked   hash    id in flight -> how somebody revoked it
  KEYS[5]  waiters   hash    id -> how many wait for its end
  KEYS[6]  done      prefix  of the list that those who wait for an id read: done .. id
  ARGV[1..]  (id token)*
  Returns  the ids that were not in flight under their token
  Keeps    only what is in flight under its token is touched
           the first write takes no memory, so that a full server can be drained
]]
--- @include "holds"
--- @include "ended"
local call = redis.call
local jobs, inflight, redeliv, revoked, waiters, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local own, lost = holds(inflight, 1, 2)

if #own > 0 then
  local ids = {}
  for n, i in ipairs(own) do ids[n] = ARGV[i] end
  call('HDEL', inflight, unpack(ids))
  call('HDEL', jobs, unpack(ids))
  if call('EXISTS', redeliv, revoked) > 0 then
    call('HDEL', redeliv, unpack(ids))
    call('HDEL', revoked, unpack(ids))
  end
  ended(waiters, done, ids)
end
return lost
