-- Gives a step back to the front of its queue, at no cost.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
if t.ending ~= '' then
  unlease(t, i, 'cancelled')
  conclude(t)
else
  unlease(t, i)
  make_ready(t, i, NOW, t.score - FRONT)
  changed(t)
end
flush(t)
return { 'ok' }
