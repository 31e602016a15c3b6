-- Ends a publication: clones of the provisioner that it did not name are gone.
-- KEYS  1 hash tag
-- ARGV  1 provisioner, 2 time of the publication, 3 how many deleted clones are remembered
-- Returns how many are left

local key = P .. 'by:' .. ARGV[1]
local before = '(' .. ARGV[2]
local now = registry_time()
for _, name in ipairs(call('ZRANGE', key, '-inf', before, 'BYSCORE', 'LIMIT', 0, BATCH)) do
  if not mark_gone(name, now, tonumber(ARGV[3])) then call('ZREM', key, name) end
end
return call('ZCOUNT', key, '-inf', before)
