-- Gives a worker the first step that is ready.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 worker, 3 lease ms, 4.. stages
-- Returns {'none'} | {'again'} (a batch of worthless entries was dropped)
--       | {'claimed', id, step index, token, stage, name, waited ms, attempts, crashes, created ms,
--          request, owner, traceparent, sealed secrets or ''}

local function take(t, i)
  local stage = step(t, i)[2]
  local token = math.max((tonumber(call('GET', P .. 'fence') or 0)) + 1, CLOCK[1] * 1000000 + CLOCK[2])
  call('SET', P .. 'fence', int(token))
  local f = call('HMGET', t.key, field(i, 'ready'), field(i, 'attempts'), field(i, 'crashes'), field(i, 'best'),
    field(i, 'percent'), 'created', 'request', 'owner', 'traceparent')
  local best = math.max(tonumber(f[4]) or 0, tonumber(f[5]) or 0)
  call('HSET', t.key, field(i, 'state'), 'running', field(i, 'token'), int(token), field(i, 'worker'), ARGV[2], -- the worker: for people
    field(i, 'best'), int(best), field(i, 'percent'), '0')
  call('HDEL', t.key, field(i, 'ready'))
  call('HSETNX', t.key, field(i, 'started'), int(NOW))
  call('HSETNX', t.key, 'started', int(NOW))
  call('ZADD', zset('leases', stage), int(NOW + tonumber(ARGV[3])), member(t, i))
  if t.state == 'queued' then set_state(t, 'running') end
  say(t, 'A worker has begun.')
  event(t, i)
  return { 'claimed', t.id, int(i), int(token), stage, step(t, i)[3], int(math.max(0, NOW - (tonumber(f[1]) or NOW))),
    f[2] or '0', f[3] or '0', f[6] or '', f[7] or '', f[8] or '', f[9] or '',
    call('GET', P .. 'secret:' .. t.id) or '' }
end

for _ = 1, BATCH do
  local first, score, stage
  for n = 4, #ARGV do
    local head = call('ZRANGE', zset('ready', ARGV[n]), 0, 0, 'WITHSCORES')
    if head[1] and (not first or tonumber(head[2]) < score) then
      first, score, stage = head[1], tonumber(head[2]), ARGV[n]
    end
  end
  if not first then return { 'none' } end
  call('ZREM', zset('ready', stage), first)
  local id, i = string.match(first, '^(.*):(%d+)$')
  i = tonumber(i)
  local t = id and load(id)
  if t and not t.sound then
    call('ZADD', P .. 'broken', int(NOW), id) -- the sweep ends it
  elseif t and not FINAL[t.state] and t.ending == '' and step(t, i) and step(t, i)[2] == stage
    and call('HEXISTS', t.key, field(i, 'token')) == 0 then
    return take(t, i)
  end
end
return { 'again' }
