-- holds(inflight, first, step): where in ARGV the (id, token) pairs stand that are in flight here; the ids that are not.
local function holds(inflight, first, step)
  local ids, own, lost = {}, {}, {}
  for i = first, #ARGV, step do ids[#ids + 1] = ARGV[i] end
  if #ids == 0 then return own, lost end
  local tokens = redis.call('HMGET', inflight, unpack(ids))
  for n, id in ipairs(ids) do
    local i = first + (n - 1) * step
    if tokens[n] == ARGV[i + 1] then own[#own + 1] = i else lost[#lost + 1] = id end
  end
  return own, lost
end
