--[[
  look: everything that Redis holds of a queue, at one moment, and whether an id is in exactly one place. Tests only.

  KEYS[1]  base  what all keys of the queue begin with
  Returns  counts (ready, scheduled, dead, redeliv, revoked, reasons, suspects); consumers, end, ...; flights (consumer, ids, ...);
           ids in jobs; violations
]]
local call, base = redis.call, KEYS[1]
local wrong, places = {}, {}

local function say(id, text)
  if #wrong < 20 then wrong[#wrong + 1] = text .. ' ' .. id end
end

local function place(id, where)
  if places[id] then say(id, 'is in ' .. places[id] .. ' and in ' .. where .. ':') end
  places[id] = where
end

local ready = call('ZRANGE', base .. 'ready', 0, -1)
local sched = call('ZRANGE', base .. 'sched', 0, -1)
local dead = call('ZRANGE', base .. 'dead', 0, -1)
for _, id in ipairs(ready) do place(id, 'ready') end
for _, member in ipairs(sched) do place(string.sub(member, 2), 'sched') end
for _, id in ipairs(dead) do place(id, 'dead') end

local consumers, known = call('ZRANGE', base .. 'consumers', 0, -1, 'WITHSCORES'), {}
for n = 1, #consumers, 2 do known[consumers[n]] = true end
local flights, held = {}, {}
for _, key in ipairs(call('KEYS', base .. 'inflight:*')) do
  local consumer = string.sub(key, #base + 10)
  local ids = call('HKEYS', key)
  if not known[consumer] then say(consumer, 'holds jobs without a lease:') end
  flights[#flights + 1] = consumer
  flights[#flights + 1] = ids
  for _, id in ipairs(ids) do
    place(id, 'inflight:' .. consumer)
    held[id] = true
  end
end

local jobs, exists = call('HKEYS', base .. 'jobs'), {}
for _, id in ipairs(jobs) do
  exists[id] = true
  if not places[id] then say(id, 'has a message and is nowhere:') end
end
for id, where in pairs(places) do
  if not exists[id] then say(id, 'is in ' .. where .. ' and has no message:') end
end
for _, name in ipairs({'redeliv', 'reasons'}) do
  for _, id in ipairs(call('HKEYS', base .. name)) do
    if not exists[id] then say(id, 'is in ' .. name .. ' and has no message:') end
  end
end
for _, id in ipairs(call('SMEMBERS', base .. 'revoked')) do
  if not held[id] then say(id, 'is revoked and not in flight:') end
end
if call('LLEN', base .. 'wake') > 1 then say('wake', 'more than one marker in') end

local counts = {
  #ready, #sched, #dead, call('HLEN', base .. 'redeliv'), call('SCARD', base .. 'revoked'),
  call('HLEN', base .. 'reasons'), call('ZCARD', base .. 'suspects'),
}
return {counts, consumers, flights, jobs, wrong}
