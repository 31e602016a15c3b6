-- Stores clones.
-- KEYS  1 hash tag
-- ARGV  1 provisioner, 2 time of the entries, or '' for now, 3 the most clones of all provisioners,
--       then for each: name, owner, entry, sealed or ''
-- Returns 'ok' | 'full'

local by, of, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Nothing is written unless all of them fit.
local new = 0
for n = 4, #ARGV, 4 do
  if call('EXISTS', P .. 'clone:' .. ARGV[n]) == 0 then new = new + 1 end
end
local now = registry_time()
for _, name in ipairs(call('ZRANGE', P .. 'seen', '-inf', int(now - DAY * 1000), 'BYSCORE', 'LIMIT', 0, BATCH)) do
  if call('HGET', P .. 'clone:' .. name, 'version') == ENTRY_VERSION then
    remove(name)
  else -- looked at again after another day
    call('ZADD', P .. 'seen', int(now), name)
  end
end
if new > 0 and call('ZCARD', P .. 'names') + new > most then return 'full' end

for n = 4, #ARGV, 4 do
  local name, owner = ARGV[n], ARGV[n + 1]
  local key = P .. 'clone:' .. name
  local had, from, seen = unpack(call('HMGET', key, 'owner', 'by', 'seen'))
  local went = tonumber(call('HGET', P .. 'gone:' .. name, 'at') or nil)
  -- What happened after that time was not known to the provisioner.
  local late = of and ((seen and tonumber(seen) > of) or (went and went > of))
  if not late then
    if had and had ~= owner then call('ZREM', P .. 'of:' .. had, name) end
    if from and from ~= by then call('ZREM', P .. 'by:' .. from, name) end
    call('DEL', key, P .. 'gone:' .. name)
    call('ZREM', P .. 'gone', name)
    call('HSET', key, 'version', ENTRY_VERSION, 'entry', ARGV[n + 2], 'owner', owner, 'by', by, 'seen', int(now))
    if ARGV[n + 3] ~= '' then call('HSET', key, 'sealed', ARGV[n + 3]) end
    call('ZADD', P .. 'names', 0, name)
    call('ZADD', P .. 'of:' .. owner, 0, name)
    call('ZADD', P .. 'by:' .. by, int(now), name)
    call('ZADD', P .. 'seen', int(now), name)
  end
end
return 'ok'
