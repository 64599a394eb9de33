-- score(rank, moment): what orders a job in ready: 17 digits, exact below 2^53, so that they can be cut from a message.
local function score(rank, moment)
  return string.format('%017.0f', rank * 17592186044416 + moment)
end
