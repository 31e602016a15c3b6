-- Gives a step back without counting an attempt: as the first of its owner, or delayed.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 delay (ms), or '' for none,
--       6 '1' when this version of the program cannot read the task, else ''
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
if is_abandoned(t, i) then
  end_lease(t, i, 'cancelled')
  finish_if_idle(t)
else
  end_lease(t, i)
  if ARGV[5] == '' then
    make_ready(t, i, NOW, t.score - FRONT_OFFSET_MS)
  else
    delay_step(t, i, tonumber(ARGV[5]))
  end
  if ARGV[6] == '1' then
    set(t, 'unreadable', '1')
    note_unreadable(t.id)
    set_message(t, 'Waiting for a worker of another version: this one cannot read the task.')
  end
  bump_revision(t)
end
flush(t)
return { 'ok' }
