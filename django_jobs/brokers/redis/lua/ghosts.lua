--[[
  ghosts: find members of ready, sched and dead that have no message; mend: drop them.

  KEYS[1]  jobs     hash  id -> message
  KEYS[2]  ready    zset  id, by score
  KEYS[3]  sched    zset  char(rank) .. id, by eta
  KEYS[4]  dead     zset  id, by its end
  KEYS[5]  reasons  hash  id -> why it is dead
  KEYS[6]  redeliv  hash  id -> deliveries:crashes
  ARGV[1]  mend     0|1
  ARGV[2..]  (member)*  the last 16 bytes are the id
  Returns  those of the members that have no message
  Keeps    an id is in jobs if and only if it is in exactly one of ready, sched, inflight:* and dead
]]
local call = redis.call
local jobs, ready, sched, dead, reasons, redeliv = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local mend, found = ARGV[1] == '1', {}
for i = 2, #ARGV do
  local member = ARGV[i]
  local id = string.sub(member, -16)
  if call('HEXISTS', jobs, id) == 0 then
    found[#found + 1] = member
    if mend then
      call('ZREM', ready, member)
      call('ZREM', sched, member)
      call('ZREM', dead, member)
      call('HDEL', reasons, id)
      call('HDEL', redeliv, id)
    end
  end
end
return found
