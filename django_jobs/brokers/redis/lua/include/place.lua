-- place_of(message): its score, 17 digits, and its rank; zeros and nil when the message is damaged.
local function place_of(message)
  local place = string.sub(message, 2, 18)
  if #place == 17 and not string.find(place, '%D') then
    local rank = math.floor(tonumber(place) / 17592186044416)
    if rank <= 200 then return place, rank end
  end
  return '00000000000000000', nil
end
