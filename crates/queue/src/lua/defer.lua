-- Puts a step off, at no cost in attempts.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 for how long (ms)
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
if t.ending ~= '' then
  unlease(t, i, 'cancelled')
  conclude(t)
else
  unlease(t, i)
  call('ZADD', Z.delayed[step(t, i)[2]], int(NOW + tonumber(ARGV[5])), member(t, i))
  changed(t)
end
flush(t)
return { 'ok' }
