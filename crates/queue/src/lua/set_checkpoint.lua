-- Stores what a task must remember across attempts, workers and replays.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 name, 6 value or '' for none
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
set(t, 'checkpoint.' .. ARGV[5], ARGV[6])
flush(t)
return { 'ok' }
