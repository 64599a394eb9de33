-- wake_up(wake): leave a marker for one idle consumer, unless one lies there already.
local function wake_up(wake)
  if redis.call('LLEN', wake) == 0 then redis.call('LPUSH', wake, 1) end
end
