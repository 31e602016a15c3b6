-- Clones deleted within the last day, the last first. A bounded number is examined.
-- KEYS  1 hash tag
-- ARGV  1 '=' and the owner, or '' for all, 2 the most clones, 3 how many to examine
-- Returns {entry, at, ...}

local owner = ARGV[1] ~= '' and string.sub(ARGV[1], 2)
local most = tonumber(ARGV[2])
local found = {}
for _, name in ipairs(call('ZRANGE', P .. 'gone', 0, tonumber(ARGV[3]) - 1, 'REV')) do
  local entry, whose, at = unpack(call('HMGET', P .. 'gone:' .. name, 'entry', 'owner', 'at'))
  if entry and (not owner or owner == whose) then
    found[#found + 1] = entry
    found[#found + 1] = at
    if #found == 2 * most then break end
  end
end
return found
