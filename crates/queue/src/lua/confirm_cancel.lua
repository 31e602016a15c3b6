-- A worker has stopped a step because its task is ending.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
end_lease(t, i, 'cancelled')
stop_task(t, 'cancelled')
flush(t)
return { 'ok' }
