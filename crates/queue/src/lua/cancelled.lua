-- A worker stopped a step because the task was to end.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
unlease(t, i, 'cancelled')
stop(t, 'cancelled')
flush(t)
return { 'ok' }
