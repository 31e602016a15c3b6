-- One artifact.
-- KEYS  1 hash tag
-- ARGV  1 task, 2 name
-- Returns {'found', kind, bytes, packed bytes themselves} | {'gone'} | {'unknown'}

local entry = ARGV[1] .. '/' .. ARGV[2]
local meta = call('HGET', P .. 'meta:' .. ARGV[1], ARGV[2])
local blob = call('GET', P .. 'blob:' .. entry)
if meta and blob then
  local _, _, bytes, kind = parse(meta)
  return { 'found', kind, bytes, blob }
end
-- `order` still knows what has expired since the last writing.
if meta or call('ZSCORE', P .. 'gone', entry) or call('ZSCORE', P .. 'order', entry) then return { 'gone' } end
return { 'unknown' }
