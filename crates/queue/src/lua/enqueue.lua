-- Accepts a task, or finds that it was accepted before.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 priority, 4 the rest of its record (record.rs),
--       5 hash of owner and idempotency key or '', 6 how long that is kept (ms), 7 tasks a minute or '',
--       8 unfinished tasks at once or '', 9.. fingerprints, of which the first is stored and any matches
-- Returns {'new'} | {'same', id} | {'mismatch'} | {'limited', 'rate' | 'concurrent', ms} | {'unreadable'}

local id, dedup = ARGV[2], ARGV[5]
if dedup ~= '' then
  dedup = P .. 'dedup:' .. dedup
  local known = call('HMGET', dedup, 'task', 'fingerprint')
  if known[1] then
    for n = 9, #ARGV do
      if ARGV[n] == known[2] then return { 'same', known[1] } end
    end
    return { 'mismatch' }
  end
end
local body = '1 ' .. int(NOW) .. ' ' .. ARGV[3] .. '\n' .. ARGV[4]
local t = read_body(id, body)
if not t then return { 'unreadable' } end
if ARGV[7] ~= '' or ARGV[8] ~= '' then
  -- A caller that did not hear our answer may ask again with the same id.
  if call('EXISTS', task_key(id)) == 1 then return { 'new' } end
  local no = refused(t.owner, 7)
  if no then return no end
end
if not call('SET', task_key(id), body, 'NX') then return { 'new' } end
t.sound, t.live, t.state, t.phase, t.ending, t.new = true, {}, 'queued', 0, '', true
index_queued(t)
if dedup ~= '' then
  call('HSET', dedup, 'task', id, 'fingerprint', ARGV[9])
  call('PEXPIRE', dedup, ARGV[6])
end
enter(t)
if t.dirty then
  flush(t)
else
  call('PUBLISH', P .. 'changed', id .. ' ' .. t.owner) -- its first version is 0: nothing is written for it
end
return { 'new' }
