-- Accepts a task, or finds that it was accepted before.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 kind, 4 owner, 5 request, 6 plan, 7 sites, 8 priority, 9 traceparent,
--       10 sealed secrets, 11 hash of owner and idempotency key or '', 12 how long that is kept (ms),
--       13.. fingerprints, of which the first is stored and any matches
-- Returns {'new'} | {'same', id} | {'mismatch'}

local id, dedup = ARGV[2], ARGV[11]
if dedup ~= '' then
  dedup = P .. 'dedup:' .. dedup
  local known = call('HMGET', dedup, 'task', 'fingerprint')
  if known[1] then
    for n = 13, #ARGV do
      if ARGV[n] == known[2] then return { 'same', known[1] } end
    end
    return { 'mismatch' }
  end
end
-- A caller that did not hear our answer may ask again with the same id.
if call('EXISTS', task_key(id)) == 1 then return { 'new' } end

call('HSET', task_key(id), 'state', 'queued', 'kind', ARGV[3], 'owner', ARGV[4], 'request', ARGV[5],
  'plan', ARGV[6], 'sites', ARGV[7], 'traceparent', ARGV[9], 'created', int(NOW), 'phase', '0',
  'score', int(NOW - tonumber(ARGV[8]) * 60000))
call('SET', P .. 'secret:' .. id, ARGV[10])
call('ZADD', index('queued'), 0, id)
call('ZADD', index('queued', ARGV[4]), 0, id)
if dedup ~= '' then
  call('HSET', dedup, 'task', id, 'fingerprint', ARGV[13])
  call('PEXPIRE', dedup, ARGV[12])
end

local t = load(id)
for _, site in ipairs(t.sites) do
  local h = redis.sha1hex(site)
  call('ZADD', siteq_key(h), int(t.score), id)
  call('ZADD', P .. 'sites', 'NX', int(NOW), h)
end
if startable(t) then
  start(t)
else
  for i = 0, #t.plan - 1 do
    if step(t, i)[1] == 0 then call('ZADD', zset('waiting', step(t, i)[2]), int(t.score), member(t, i)) end
  end
  say(t, 'Waiting for another task on the same site.')
  changed(t)
end
return { 'new' }
