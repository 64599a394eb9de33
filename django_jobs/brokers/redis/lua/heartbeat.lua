--[[
  heartbeat: open (register) or renew the lease of a consumer.

  KEYS[1]  consumers  zset  consumer, by end of lease
  KEYS[2]  suspects   zset  consumer, by when its lease was first found over
  KEYS[3]  inflight   hash  id -> token, of this consumer
  KEYS[4]  revoked    hash  id in flight -> how somebody revoked it
  KEYS[5]  meta       hash  since
  ARGV[1]  consumer   text
  ARGV[2]  lease      int   ms
  ARGV[3]  register   0|1   open a lease that is not there
  Returns  "lost"; or how many jobs it has in flight, then (id, how) of those among them that somebody revoked
  Keeps    who is lost stays lost
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
local call = redis.call
local consumers, suspects, inflight, revoked, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local consumer, lease, register = ARGV[1], ARGV[2], ARGV[3] == '1'

if not register and not call('ZSCORE', consumers, consumer) then return 'lost' end
local moment = now()
call('ZREM', suspects, consumer)
call('ZADD', consumers, moment + lease, consumer)
if register then call('HSETNX', meta, 'since', moment) end

local answer = {call('HLEN', inflight)}
local ids = call('HKEYS', revoked)
for first = 1, #ids, 1000 do
  local last = math.min(first + 999, #ids)
  local tokens = call('HMGET', inflight, unpack(ids, first, last))
  for n = first, last do
    if tokens[n - first + 1] then
      answer[#answer + 1] = ids[n]
      answer[#answer + 1] = call('HGET', revoked, ids[n])
    end
  end
end
return answer
