--[[
  resume: end a pause and wake a consumer.

  KEYS[1]  meta  hash  paused
  KEYS[2]  wake  list  at most one marker
  Returns  "resumed"
  Keeps    a consumer that sleeps has a marker waiting when there is something in ready
]]
--- @include "wake"
redis.call('HDEL', KEYS[1], 'paused')
wake_up(KEYS[2])
return 'resumed'
