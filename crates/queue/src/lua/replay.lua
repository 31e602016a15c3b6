-- Queues a failed task again, from the phase in which it failed.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 sealed secrets or '', 4 tasks a minute or '', 5 unfinished tasks or ''
-- Returns {'queued'} | {'state', state} | {'secrets_gone'} | {'limited', 'rate' | 'concurrent', ms} | {'gone'}
--       | {'unreadable'} | {'not_found'}

local t = load_task(ARGV[2])
if not t then return { call('ZSCORE', KEY.gone, ARGV[2]) and 'gone' or 'not_found' } end
if is_internal(t) then return { 'not_found' } end
if not t.readable then return { t.other_version and 'unreadable' or 'not_found' } end
if t.state ~= 'failed' then return { 'state', t.state } end
local secrets = ARGV[3]
if secrets == '' then secrets = call('GET', task_key('request_secrets', t.id)) or '' end
if secrets == '' and (tonumber(t.live.request_secret_bytes) or 0) > 0 then return { 'secrets_gone' } end
local exceeded = limit_exceeded(t.owner, 4)
if exceeded then return exceeded end

-- It is no longer a finished task.
remove_finished(t)
call('DEL', task_key('request_secrets', t.id))
-- When a sealed result is no longer kept, or the task was cleaned up, all steps are done again.
local all = t.phase == t.plan.cleanup_phase
  or (tonumber(t.live.result_secret_bytes) or 0) > 0 and call('PERSIST', task_key('result_secrets', t.id)) == 0
if all then
  call('DEL', task_key('output', t.id), task_key('result_secrets', t.id))
  set(t, 'output_bytes', '0')
  set(t, 'result_secret_bytes', '0')
else
  call('HDEL', task_key('output', t.id), 'problem')
  for _, name in ipairs(call('HKEYS', task_key('output', t.id))) do
    if string.find(name, '^left%.') then call('HDEL', task_key('output', t.id), name) end
  end
end
for _, name in ipairs({ 'finished', 'ending', 'ending_code', 'cancel', 'request_secret_bytes', 'callback', 'callback_code' }) do
  set(t, name, '')
end
t.ending = ''
increment('replayed_total')

-- Its age starts anew, so that it overtakes no other task.
t.score = NOW - 60000 * tonumber(string.match(t.body, '^%d+ %d+ (%d+)'))
set(t, 'score', int(t.score))
write_secrets(t, secrets)
if ARGV[3] ~= '' and next(t.share) then
  -- The key is that of another login, which the site may not accept any more.
  set(t, 'unshared', '1')
  t.share = {}
end
t.phase = nil
for i = 0, #t.plan - 1 do
  if all or t.live[FIELDS[i].state] ~= 'succeeded' then
    t.phase = math.min(t.phase or step(t, i)[1], step(t, i)[1]) -- cleanup steps come last
    set(t, FIELDS[i].state, '')
    set(t, FIELDS[i].started, '')
    set(t, FIELDS[i].token, '')
    set(t, FIELDS[i].ready, '')
    for _, name in ipairs({ 'attempts', 'crashes', 'percent', 'best_percent' }) do set(t, FIELDS[i][name], '0') end
    set(t, FIELDS[i].finished, '')
  end
end
set(t, 'phase', int(t.phase))
set(t, 'replays', int((tonumber(t.live.replays) or 0) + 1))
set_state(t, 'queued')
local started = start_or_wait(t, NOW)
set_message(t, started and MESSAGES.queued or waiting_message(t), 0)
add_event(t)
flush(t)
return { 'queued' }
