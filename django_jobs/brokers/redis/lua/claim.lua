--[[
  claim: promote what is due, then move ready jobs to flight, best first.

  KEYS[1]  jobs       hash  id -> message
  KEYS[2]  ready      zset  id, by score
  KEYS[3]  sched      zset  char(rank) .. id, by eta
  KEYS[4]  inflight   hash  id -> token, of this consumer
  KEYS[5]  consumers  zset  consumer, by end of lease
  KEYS[6]  redeliv    hash  id -> deliveries:crashes, only of jobs that came back
  KEYS[7]  wake       list  at most one marker
  KEYS[8]  meta       hash  paused
  ARGV[1]  consumer   text
  ARGV[2]  token      text  names this claim; never used twice by a consumer
  ARGV[3]  limit      int   how many jobs at most
  ARGV[4]  promote    int   how many due jobs to promote at most
  ARGV[5]  most       int   how many jobs a consumer may have in flight
  Returns  "lost"; or now, eta of the earliest scheduled job or "", a consumer whose lease has run out or "",
           counts of the job when it comes alone or "", then (id, message) of each job
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           a job that was handed out before comes alone
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "wake"
local call = redis.call
local jobs, ready, sched, inflight, consumers = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local redeliv, wake, meta = KEYS[6], KEYS[7], KEYS[8]
local consumer, token, limit, promote, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function promoted(moment)
  local due = call('ZRANGEBYSCORE', sched, '-inf', moment, 'WITHSCORES', 'LIMIT', 0, promote)
  if #due == 0 then return false end
  local scores = {}
  for i = 1, #due, 2 do
    scores[i] = string.byte(due[i]) * 17592186044416 + due[i + 1]
    scores[i + 1] = string.sub(due[i], 2)
  end
  call('ZREMRANGEBYRANK', sched, 0, #due / 2 - 1)
  call('ZADD', ready, unpack(scores))
  return true
end

-- The ids that go together: all, or those before the first that was handed out already, or that one alone.
local function batch(want)
  local ids = call('ZRANGE', ready, 0, want - 1)
  if #ids == 0 or call('EXISTS', redeliv) == 0 then return ids, '' end
  local counts = call('HMGET', redeliv, unpack(ids))
  for n = 1, #ids do
    if counts[n] then
      if n == 1 then return {ids[1]}, counts[1] end
      return {unpack(ids, 1, n - 1)}, ''
    end
  end
  return ids, ''
end

local function silent(moment)
  local leases = call('ZRANGE', consumers, 0, 1, 'WITHSCORES')
  for i = 1, #leases, 2 do
    if leases[i] ~= consumer and tonumber(leases[i + 1]) < moment then return leases[i] end
  end
  return ''
end

local function take(answer, want)
  local ids, counts = batch(want)
  if #ids == 0 then return end
  call('ZREMRANGEBYRANK', ready, 0, #ids - 1)
  local messages, tokens = call('HMGET', jobs, unpack(ids)), {}
  answer[4] = counts
  for n, id in ipairs(ids) do
    if messages[n] then  -- an id without its message is nobody's job: dropped
      answer[#answer + 1] = id
      answer[#answer + 1] = messages[n]
      tokens[#tokens + 1] = id
      tokens[#tokens + 1] = token
    end
  end
  if #tokens > 0 then call('HSET', inflight, unpack(tokens)) end
end

if not call('ZSCORE', consumers, consumer) then return 'lost' end
local moment = now()
local rings = promoted(moment)
local earliest = call('ZRANGE', sched, 0, 0, 'WITHSCORES')
local answer = {moment, earliest[2] or '', silent(moment), ''}
if call('HEXISTS', meta, 'paused') == 1 then return answer end
local want = limit > 0 and math.min(limit, most - call('HLEN', inflight)) or 0
if want > 0 then
  take(answer, want)
  rings = true
end
-- Who asks for nothing is busy; it rings for others only about what it has just promoted, so nobody is woken in vain.
if rings and call('EXISTS', ready) == 1 then wake_up(wake) end
return answer
