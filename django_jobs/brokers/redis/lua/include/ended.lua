-- ended(waiters, done, ids): push one element for each who waits for the end of one of these jobs.
local function ended(waiters, done, ids)
  if redis.call('EXISTS', waiters) == 0 then return end
  local counts = redis.call('HMGET', waiters, unpack(ids))
  for n, id in ipairs(ids) do
    if counts[n] then
      redis.call('HDEL', waiters, id)
      for _ = 1, math.min(counts[n], 1000) do redis.call('LPUSH', done .. id, 1) end
      redis.call('PEXPIRE', done .. id, 60000)
    end
  end
end
