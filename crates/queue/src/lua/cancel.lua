-- Ends a task for its owner: at once when no worker has it.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id
-- Returns {'now'} | {'requested'} | {'finished'} | {'unknown'}

local t = load(ARGV[2])
if not t or is_delivery(t) then return { 'unknown' } end
if FINAL[t.state] then return { 'finished' } end
if not t.sound then
  set_aside(t.id)
  return { 'requested' }
end
set(t, 'cancel', '1')
changed(t)
local ended = stop(t, 'cancelled')
flush(t)
return { ended and 'now' or 'requested' }
