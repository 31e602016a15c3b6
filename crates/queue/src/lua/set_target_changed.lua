-- Stores whether the task has altered its target. The note outlives the worker and the attempt.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 '1' or '0'
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
set(t, 'target_changed', ARGV[5])
flush(t)
return { 'ok' }
