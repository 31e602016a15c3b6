-- Ends a publication: what its provisioner has not named since is gone.
-- KEYS  1 hash tag
-- ARGV  1 provisioner, 2 moment of the publication, 3 how many gone ones are remembered
-- Returns how many there are more

local key = P .. 'by:' .. ARGV[1]
local before = '(' .. ARGV[2]
local now = moment()
for _, name in ipairs(call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, BATCH)) do
  if not to_gone(name, now, tonumber(ARGV[3])) then call('ZREM', key, name) end
end
return call('ZCOUNT', key, '-inf', before)
