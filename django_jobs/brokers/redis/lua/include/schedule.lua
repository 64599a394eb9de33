-- schedule(sched, rank, id, eta): add to sched; true: it is the earliest now, so sleepers have to set their alarm anew.
local function schedule(sched, rank, id, eta)
  local member = string.char(rank) .. id
  redis.call('ZADD', sched, eta, member)
  return redis.call('ZRANGE', sched, 0, 0)[1] == member
end
