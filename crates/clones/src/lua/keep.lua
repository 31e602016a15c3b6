-- Clones of a provisioner that exist, but that it cannot describe: what is stored of them stays.
-- KEYS  1 hash tag
-- ARGV  1 provisioner, then names
-- Returns 'ok'

local by = ARGV[1]
local now = int(registry_time())
for n = 2, #ARGV do
  local name = ARGV[n]
  if call('HGET', P .. 'clone:' .. name, 'by') == by then
    call('HSET', P .. 'clone:' .. name, 'seen', now)
    call('ZADD', P .. 'by:' .. by, now, name)
    call('ZADD', P .. 'seen', now, name)
  end
end
return 'ok'
