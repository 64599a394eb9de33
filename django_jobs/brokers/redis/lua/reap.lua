--[[
  reap: move what a silent consumer has in flight back to ready, in two steps, or in one when its end was seen.

  KEYS[1]   jobs       hash  id -> message
  KEYS[2]   ready      zset  id, by score
  KEYS[3]   inflight   hash  id -> token, of that consumer
  KEYS[4]   consumers  zset  consumer, by end of lease
  KEYS[5]   suspects   zset  consumer, by when its lease was first found over
  KEYS[6]   redeliv    hash  id -> deliveries:crashes
  KEYS[7]   revoked    hash  id in flight -> how somebody revoked it
  KEYS[8]   dead       zset  id, by its end
  KEYS[9]   reasons    hash  id -> why it is dead
  KEYS[10]  wake       list  at most one marker
  ARGV[1]   consumer   text
  ARGV[2]   suspect    int   ms between the first look and the second
  ARGV[3]   force      0|1   its end was seen
  ARGV[4]   unknown    0|1   nobody knows what was running: all are charged with a crash
  ARGV[5]   endings    int  how many of the following pairs
  ARGV[6..]  (id reason)*  what was ended together with its process: dead, not ready
  ARGV[..]   (id)*     what was running
  Returns  "alive", "suspected", "unknown" or "reaped"; then the ids that are ready again
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
           nothing that the consumer says counts from here on
           the first write takes no memory, so that a full server can be drained
]]
--- @include "now"
--- @include "wake"
--- @include "counts"
--- @include "die"
--- @include "place"
local call = redis.call
local jobs, ready, inflight, consumers, suspects = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local redeliv, revoked, dead, reasons, wake = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local consumer, suspect, force, unknown = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', ARGV[4] == '1'
local moment = now()
--- @include "give_back"

local function verdict()
  local lease = call('ZSCORE', consumers, consumer)
  if not lease then return call('EXISTS', inflight) == 0 and 'unknown' or 'reaped' end
  if force then return 'reaped' end
  if tonumber(lease) >= moment then return 'alive' end
  local since = call('ZSCORE', suspects, consumer)
  if since then return moment - since < suspect and 'suspected' or 'reaped' end
  call('ZREM', suspects, consumer)
  call('ZADD', suspects, moment, consumer)
  return 'suspected'
end

local answer = {verdict()}
if answer[1] ~= 'reaped' then return answer end
call('ZREM', consumers, consumer)
call('ZREM', suspects, consumer)
local running, endings, first = {}, {}, 6 + 2 * ARGV[5]
for i = 6, first - 1, 2 do endings[ARGV[i]] = ARGV[i + 1] end
for i = first, #ARGV do running[ARGV[i]] = true end
for _, id in ipairs(call('HKEYS', inflight)) do
  if endings[id] then
    call('HDEL', inflight, id)
    call('HDEL', revoked, id)
    die(dead, reasons, redeliv, id, moment, endings[id])
  elseif give_back(id) then
    add_counts(redeliv, id, unknown or running[id])
    answer[#answer + 1] = id
  end
end
if #answer > 1 then wake_up(wake) end
return answer
