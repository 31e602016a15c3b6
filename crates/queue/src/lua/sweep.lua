-- Does what time has made due. Idempotent; each part does at most a batch.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 keep_finished ms, 3 keep_finished bytes, 4 max crashes,
--       5 problem, 6 code, 7 title for records that cannot be read, 8 code, 9 title for poison,
--       10 worker memory ms, 11.. pairs of stage and its poison problem
-- Returns {promoted, expired, poisoned, trimmed, 1 when a batch was full}

local promoted, expired, poisoned, trimmed, more = 0, 0, 0, 0, 0
local function due(key, limit)
  local found = call('ZRANGE', key, '-inf', int(NOW), 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  if #found == 2 * limit then more = 1 end
  return found
end
local function open(m)
  local id, i = string.match(m, '^(.*):(%d+)$')
  i = tonumber(i)
  local t = id and load(id)
  if t and not t.sound then call('ZADD', P .. 'broken', int(NOW), id) end
  if t and t.sound and not FINAL[t.state] and step(t, i) then return t, i end
end

local function promote(stage)
  local found = due(zset('delayed', stage), BATCH)
  for n = 1, #found, 2 do
    call('ZREM', zset('delayed', stage), found[n])
    local t, i = open(found[n])
    if t and t.ending == '' then
      make_ready(t, i, tonumber(found[n + 1]))
      promoted = promoted + 1
    end
  end
end

local function crash(t, i, poison)
  expired = expired + 1
  call('HINCRBY', P .. 'counters', 'lease_lost_total', 1)
  local crashes = call('HINCRBY', t.key, field(i, 'crashes'), 1)
  if t.ending ~= '' then
    unlease(t, i, 'cancelled')
    conclude(t)
  elseif crashes >= tonumber(ARGV[4]) then
    poisoned = poisoned + 1
    unlease(t, i, 'failed')
    stop(t, 'failed', ARGV[9], poison, ARGV[8])
  else
    unlease(t, i)
    make_ready(t, i, NOW)
    say(t, 'The worker was lost; the step starts again.')
    event(t, i)
  end
end

local function expire(stage, poison)
  local found = due(zset('leases', stage), BATCH)
  for n = 1, #found, 2 do
    call('ZREM', zset('leases', stage), found[n])
    local t, i = open(found[n])
    if t then crash(t, i, poison) end
  end
end

-- Ends tasks whose record cannot be read; nothing of them can be trusted, so every queue is searched.
local function condemn()
  local found = call('ZPOPMIN', P .. 'broken', 10)
  if #found == 20 then more = 1 end
  for n = 1, #found, 2 do
    local t = load(found[n])
    for s = 11, #ARGV, 2 do
      for i = 0, 31 do
        for _, name in ipairs({ 'ready', 'delayed', 'waiting', 'leases' }) do
          call('ZREM', zset(name, ARGV[s]), found[n] .. ':' .. int(i))
        end
      end
    end
    if t and not FINAL[t.state] then finish(t, 'failed', ARGV[7], ARGV[5], ARGV[6]) end
  end
end

-- Locks whose task is gone, and turns that nobody took. Each site is looked at every five seconds; also one whose last
-- look lies in the future, since the clock was set back.
local function mend()
  local due = call('ZRANGE', P .. 'sites', '-inf', int(NOW - 5000), 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, h in ipairs(call('ZRANGE', P .. 'sites', '(' .. int(NOW), '+inf', 'BYSCORE', 'LIMIT', 0, BATCH)) do
    due[#due + 1] = h
  end
  for _, h in ipairs(due) do
    local holder = call('GET', lock_key(h))
    local t = holder and load(holder)
    if holder and (not t or FINAL[t.state]) then
      call('DEL', lock_key(h))
      holder = nil
    end
    if not holder then offer(h) end
    if call('EXISTS', lock_key(h), siteq_key(h)) > 0 then
      call('ZADD', P .. 'sites', int(NOW), h)
    else
      call('ZREM', P .. 'sites', h)
    end
  end
end

local function forget(id)
  local f = redis.pcall('HMGET', task_key(id), 'state', 'owner', 'bytes')
  if not f.err and f[1] then
    call('ZREM', index(f[1]), id)
    call('ZREM', index(f[1], f[2] or ''), id)
    call('DECRBY', P .. 'done_bytes', f[3] or 0)
  end
  call('DEL', task_key(id), P .. 'events:' .. id, P .. 'secret:' .. id, P .. 'rsecret:' .. id)
  call('ZREM', P .. 'done', id)
  call('ZADD', P .. 'gone', int(NOW), id)
  trimmed = trimmed + 1
end

local function trim()
  local old = call('ZRANGE', P .. 'done', '-inf', int(NOW - tonumber(ARGV[2])), 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, id in ipairs(old) do forget(id) end
  while trimmed < BATCH and (tonumber(call('GET', P .. 'done_bytes')) or 0) > tonumber(ARGV[3]) do
    local id = call('ZRANGE', P .. 'done', 0, 0)[1]
    if not id then
      call('DEL', P .. 'done_bytes')
      break
    end
    forget(id)
  end
  if trimmed >= BATCH then more = 1 end
  if trimmed > 0 then call('ZREMRANGEBYRANK', P .. 'gone', 0, -50001) end
  call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', int(NOW - tonumber(ARGV[10])))
end

for s = 11, #ARGV, 2 do
  promote(ARGV[s])
  expire(ARGV[s], ARGV[s + 1])
end
condemn()
mend()
trim()
return { promoted, expired, poisoned, trimmed, more }
