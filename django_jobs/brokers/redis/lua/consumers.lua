--[[
  consumers: say who has a lease, and how much each holds.

  KEYS[1]  consumers  zset    consumer, by end of lease
  KEYS[2]  suspects   zset    consumer, by when its lease was first found over
  KEYS[3]  flights    prefix  of what a consumer has in flight: flights .. consumer
  Returns  (consumer, how long its lease still lasts in ms, how long ago it was found over in ms or -1, jobs in flight)
  Keeps    everything as it is
]]
--- @include "now"
local call = redis.call
local consumers, suspects, flights = KEYS[1], KEYS[2], KEYS[3]
local moment, answer = now(), {}
local leases = call('ZRANGE', consumers, 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local since = call('ZSCORE', suspects, leases[i])
  answer[#answer + 1] = leases[i]
  answer[#answer + 1] = tonumber(leases[i + 1]) - moment
  answer[#answer + 1] = since and math.max(0, moment - since) or -1
  answer[#answer + 1] = call('HLEN', flights .. leases[i])
end
return answer
