-- Accepts a task, or finds that it was accepted before.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 priority, 4 its record without the first line (record.rs), which contains 5 owner,
--       6 plan, 7 sites; 8 hash of owner and idempotency key or '', 9 how long that is kept (ms), 10 tasks a minute or '',
--       11 unfinished tasks or '', 12 '1' when there are other owners, else '', 13.. fingerprints, of which the first is
--       stored and any may match
-- Returns {'new'} | {'same', id} | {'mismatch'} | {'limited', 'rate' | 'concurrent', ms}

local id, owner, idempotency = ARGV[2], ARGV[5], ARGV[8]
if idempotency ~= '' then
  idempotency = task_key('idempotency', idempotency)
  local known = call('HMGET', idempotency, 'task', 'fingerprint')
  if known[1] then
    for n = 13, #ARGV do
      if ARGV[n] == known[2] then return { 'same', known[1] } end
    end
    return { 'mismatch' }
  end
end
if ARGV[10] ~= '' or ARGV[11] ~= '' then
  -- A caller that did not get the answer may repeat the call with the same id.
  if call('EXISTS', task_key('task', id)) == 1 then return { 'new' } end
  local exceeded = limit_exceeded(owner, 10)
  if exceeded then return exceeded end
end
local sharing = ARGV[12] == '1' and ' shared' or ''
local record = RECORD_VERSION .. ' ' .. NOW_TEXT .. ' ' .. ARGV[3] .. sharing .. '\n' .. ARGV[4]
if not call('SET', task_key('task', id), record, 'NX') then return { 'new' } end
local sites, share = read_sites(ARGV[7])
local t = { id = id, owner = owner, plan = read_plan(ARGV[6]), sites = sites, share = share, phase = 0, state = 'queued',
  score = NOW - 60000 * ARGV[3], live = {} }
index_queued(t)
if idempotency ~= '' then
  call('HSET', idempotency, 'task', id, 'fingerprint', ARGV[13])
  call('PEXPIRE', idempotency, ARGV[9])
end
start_or_wait(t)
t.publish = true -- the first state is not written
flush(t)
return { 'new' }
