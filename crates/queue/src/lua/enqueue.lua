-- Accepts a task, or finds that it was accepted before.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 priority, 4 the rest of its record (record.rs), of which 5 owner, 6 plan, 7 sites,
--       8 hash of owner and idempotency key or '', 9 how long that is kept (ms), 10 tasks a minute or '',
--       11 unfinished tasks at once or '', 12.. fingerprints, of which the first is stored and any matches
-- Returns {'new'} | {'same', id} | {'mismatch'} | {'limited', 'rate' | 'concurrent', ms}

local id, owner, dedup = ARGV[2], ARGV[5], ARGV[8]
if dedup ~= '' then
  dedup = key('dedup', dedup)
  local known = call('HMGET', dedup, 'task', 'fingerprint')
  if known[1] then
    for n = 12, #ARGV do
      if ARGV[n] == known[2] then return { 'same', known[1] } end
    end
    return { 'mismatch' }
  end
end
if ARGV[10] ~= '' or ARGV[11] ~= '' then
  -- A caller that did not hear our answer may ask again with the same id.
  if call('EXISTS', key('task', id)) == 1 then return { 'new' } end
  local no = refused(owner, 10)
  if no then return no end
end
if not call('SET', key('task', id), '1 ' .. NOW_TEXT .. ' ' .. ARGV[3] .. '\n' .. ARGV[4], 'NX') then return { 'new' } end
local t = { id = id, owner = owner, plan = read_plan(ARGV[6]), sites = read_sites(ARGV[7]), phase = 0, state = 'queued',
  score = NOW - 60000 * ARGV[3], live = {} }
index_queued(t)
if dedup ~= '' then
  call('HSET', dedup, 'task', id, 'fingerprint', ARGV[12])
  call('PEXPIRE', dedup, ARGV[9])
end
enter(t)
if t.put then
  flush(t)
else
  call('PUBLISH', K.changed, id .. ' ' .. owner) -- nothing is written for its first state
end
return { 'new' }
