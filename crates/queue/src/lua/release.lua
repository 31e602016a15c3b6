-- Gives a step back at no cost: to the front of its queue, or for later.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 for how long (ms), or '' for now
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
if is_off(t, i) then
  unlease(t, i, 'cancelled')
  conclude(t)
else
  unlease(t, i)
  if ARGV[5] == '' then
    make_ready(t, i, NOW, t.score - FRONT)
  else
    call('ZADD', Z.delayed[step(t, i)[2]], int(NOW + tonumber(ARGV[5])), member(t, i))
  end
  changed(t)
end
flush(t)
return { 'ok' }
