-- One clone.
-- KEYS  1 hash tag
-- ARGV  1 name
-- Returns {'known', entry, sealed or ''} | {'gone', entry, at} | {'unknown'}

local entry, sealed = unpack(call('HMGET', P .. 'clone:' .. ARGV[1], 'entry', 'sealed'))
if entry then return { 'known', entry, sealed or '' } end
local last, at = unpack(call('HMGET', P .. 'gone:' .. ARGV[1], 'entry', 'at'))
if last then return { 'gone', last, at } end
return { 'unknown' }
