-- member_of(sched, message, id): its member of sched, or nil. A damaged message does not say its rank. Needs place_of().
local function member_of(sched, message, id)
  local _, rank = place_of(message)
  for n = rank or 0, rank or 200 do
    local member = string.char(n) .. id
    if redis.call('ZSCORE', sched, member) then return member end
  end
  return nil
end
