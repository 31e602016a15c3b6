-- Cancels a task: at once when no worker has a step of it.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id
-- Returns {'cancelled'} | {'requested'} | {'finished'} | {'unreadable'} | {'not_found'}

local t = load_task(ARGV[2])
if not t or is_internal(t) then return { 'not_found' } end
if FINAL[t.state] then return { 'finished' } end
if not t.readable then
  report_unreadable(t)
  return { t.other_version and 'unreadable' or 'requested' }
end
set(t, 'cancel', '1')
bump_revision(t)
local ended = stop_task(t, 'cancelled')
flush(t)
return { ended and 'cancelled' or 'requested' }
