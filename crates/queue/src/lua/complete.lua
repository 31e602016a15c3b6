-- A step went well: the last of its phase starts the next phase, the last of all ends the task.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 result, 6 sealed result or ''
-- Returns {'advanced'} | {'finished'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
unlease(t, i, 'succeeded')
call('HSET', t.key, field(i, 'result'), ARGV[5])
if ARGV[6] ~= '' then call('SET', P .. 'rsecret:' .. t.id, ARGV[6]) end

local phase_done, last = true, true
for n = 0, #t.plan - 1 do
  if call('HGET', t.key, field(n, 'state')) ~= 'succeeded' then
    last = false
    if step(t, n)[1] == t.phase then phase_done = false end
  end
end
if last then -- also when its owner asked too late for its end
  finish(t, 'succeeded', 'Done.')
  return { 'finished' }
end
if t.ending ~= '' and conclude(t) then return { 'finished' } end
if t.ending == '' and phase_done then
  t.phase = t.phase + 1
  call('HSET', t.key, 'phase', int(t.phase))
  start_phase(t)
end
event(t, i)
return { 'advanced' }
