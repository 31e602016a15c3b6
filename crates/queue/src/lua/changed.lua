-- Notes whether the task has altered its target, so that the note outlives the worker and its attempt.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 '1' or '0'
-- Returns {'ok'} | {'lost'}

local t = leased(ARGV[2], tonumber(ARGV[3]), ARGV[4])
if not t then return { 'lost' } end
set(t, 'changed', ARGV[5])
flush(t)
return { 'ok' }
