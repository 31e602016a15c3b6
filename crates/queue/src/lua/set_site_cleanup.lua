-- Registers what a task would leave on a site, or that nothing is left any more.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 name, 6 `<site> <sealed secret or -> <text>`, or '' for nothing
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
if ARGV[6] == '' then
  call('HDEL', task_key('output', t.id), 'cleanup.' .. ARGV[5])
else
  call('HSET', task_key('output', t.id), 'cleanup.' .. ARGV[5], ARGV[6])
  set(t, 'cleanups', '1')
end
flush(t)
return { 'ok' }
