-- Queues a failed task again, from the phase in which it failed.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 sealed secrets or '', 4 tasks a minute or '', 5 unfinished tasks at once or ''
-- Returns {'queued'} | {'state', state} | {'secrets_gone'} | {'limited', 'rate' | 'concurrent', ms} | {'gone'} | {'unknown'}

local t = load(ARGV[2])
if not t then return { call('ZSCORE', K.gone, ARGV[2]) and 'gone' or 'unknown' } end
if not t.sound or is_delivery(t) then return { 'unknown' } end
if t.state ~= 'failed' then return { 'state', t.state } end
local secrets = ARGV[3]
if secrets == '' then secrets = call('GET', key('secret', t.id)) or '' end
if secrets == '' and (tonumber(t.live.secrets) or 0) > 0 then return { 'secrets_gone' } end
local no = refused(t.owner, 4)
if no then return no end

-- It is no longer a finished task.
call('ZREM', K.done, t.id)
call('DECRBY', K.done_bytes, int(weight(t)))
call('DEL', key('secret', t.id))
-- A step whose sealed result is no longer kept is as good as not done, and so is what was cleaned up.
local all = t.phase == t.plan.clean_up or (tonumber(t.live.sealed) or 0) > 0 and call('PERSIST', key('rsecret', t.id)) == 0
if all then
  call('DEL', key('out', t.id), key('rsecret', t.id))
  set(t, 'out', '0')
  set(t, 'sealed', '0')
else
  call('HDEL', key('out', t.id), 'problem')
end
for _, name in ipairs({ 'finished', 'ending', 'ending_code', 'cancel', 'secrets', 'callback', 'callback_code' }) do set(t, name, '') end
t.ending = ''
count('replayed_total')

-- Its age begins anew: it overtakes nobody.
t.score = NOW - 60000 * tonumber(string.match(t.body, '^1 %d+ (%d+)'))
set(t, 'score', int(t.score))
write_secrets(t, secrets)
t.phase = nil
for i = 0, #t.plan - 1 do
  if all or t.live[FIELDS[i].state] ~= 'succeeded' then
    t.phase = math.min(t.phase or step(t, i)[1], step(t, i)[1]) -- those that clean up come last
    set(t, FIELDS[i].state, '')
    set(t, FIELDS[i].started, '')
    set(t, FIELDS[i].token, '')
    set(t, FIELDS[i].ready, '')
    for _, name in ipairs({ 'attempts', 'crashes', 'percent', 'best' }) do set(t, FIELDS[i][name], '0') end
    set(t, FIELDS[i].finished, '')
  end
end
set(t, 'phase', int(t.phase))
set(t, 'replays', int((tonumber(t.live.replays) or 0) + 1))
set_state(t, 'queued')
local at_once = enter(t, NOW)
say(t, at_once and MESSAGES.queued or 'Waiting for another task on the same site.', 0)
event(t)
flush(t)
return { 'queued' }
