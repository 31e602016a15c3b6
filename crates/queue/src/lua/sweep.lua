-- Does what time has made due. Idempotent; each part does at most a batch.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 keep_finished ms, 3 keep_finished bytes, 4 max crashes,
--       5 problem, 6 code, 7 title for records that cannot be read, 8 code, 9 title for poison,
--       10 worker memory ms, 11 lease ms, 12 the longest delay (ms), 13.. pairs of stage and its poison problem
-- Returns {promoted, expired, poisoned, trimmed, 1 when a batch was full}

local STAGES = 13
local promoted, expired, poisoned, trimmed, more = 0, 0, 0, 0, 0
local function due(queue, limit)
  local found = call('ZRANGE', queue, '-inf', NOW_TEXT, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  if #found == 2 * limit then more = 1 end
  return found
end

-- When the clock was set back, what was written before lies too far ahead.
local function not_beyond(queue, longest)
  local far = call('ZRANGE', queue, '(' .. int(NOW + longest), '+inf', 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, m in ipairs(far) do call('ZADD', queue, int(NOW + longest), m) end
end
local function open(m)
  local id, i = of_member(m)
  local t = i and load(id)
  if t and not t.sound then set_aside(id) end
  if t and t.sound and not FINAL[t.state] and step(t, i) then return t, i end
end

local function promote(stage)
  local delayed = Z.delayed[stage]
  not_beyond(delayed, tonumber(ARGV[12]))
  local found = due(delayed, BATCH)
  for n = 1, #found, 2 do
    call('ZREM', delayed, found[n])
    local t, i = open(found[n])
    if t and not is_off(t, i) then
      -- A message that was put off does not overtake those that came since: its receiver may never answer.
      make_ready(t, i, tonumber(found[n + 1]), is_delivery(t) and NOW or nil)
      flush(t)
      promoted = promoted + 1
    end
  end
end

local function crash(t, i, poison)
  expired = expired + 1
  count('lease_lost_total')
  local crashes = (tonumber(t.live[FIELDS[i].crashes]) or 0) + 1
  set(t, FIELDS[i].crashes, int(crashes))
  if is_off(t, i) then
    unlease(t, i, 'cancelled')
    conclude(t)
  elseif crashes >= tonumber(ARGV[4]) then
    poisoned = poisoned + 1
    spoil(t, i, ARGV[9], poison, ARGV[8])
  else
    unlease(t, i)
    make_ready(t, i, NOW)
    say(t, 'The worker was lost; the step starts again.')
    event(t, i)
  end
  flush(t)
end

local function expire(stage, poison)
  local leases = Z.leases[stage]
  not_beyond(leases, 2 * tonumber(ARGV[11]))
  local found = due(leases, BATCH)
  for n = 1, #found, 2 do
    call('ZREM', leases, found[n])
    local t, i = open(found[n])
    if t then crash(t, i, poison) end
  end
end

-- Tasks that have cleaned up for too long end as they are.
local function end_cleaning()
  not_beyond(K.cleaning, CLEAN_UP)
  local found = due(K.cleaning, BATCH)
  for n = 1, #found, 2 do
    local t = load(found[n])
    call('ZREM', K.cleaning, found[n])
    if t and t.sound and not FINAL[t.state] then
      for i = 0, #t.plan - 1 do
        if has_lease(t, i) then unlease(t, i, 'cancelled') end
      end
      end_as_meant(t)
      flush(t)
    end
  end
end

-- Ends tasks whose record cannot be read; nothing of them can be trusted, so every queue and index is searched.
local function condemn()
  local found = call('ZRANGE', K.broken, 0, 9)
  if #found == 10 then more = 1 end
  for _, id in ipairs(found) do
    for s = STAGES, #ARGV, 2 do
      for i = 0, 31 do
        for _, name in ipairs({ 'ready', 'delayed', 'waiting', 'leases' }) do
          call('ZREM', Z[name][ARGV[s]], id .. ':' .. int(i))
        end
      end
    end
    local t = load(id)
    if t and not t.sound and not FINAL[t.state] then
      for _, owner in ipairs(call('SMEMBERS', K.owners)) do
        for _, state in ipairs(STATES) do
          if unindex(id, state, owner) then t.owner = owner end
        end
      end
      -- What is of another kind than ours, and secrets in what cannot be read.
      for name, look in pairs({ live = 'HLEN', out = 'HLEN', events = 'LLEN' }) do
        if type(redis.pcall(look, key(name, id))) == 'table' then call('DEL', key(name, id)) end
      end
      call('SET', key('task', id), 'unreadable')
      t.body = 'unreadable'
      finish(t, 'failed', ARGV[7], ARGV[5], ARGV[6])
      flush(t)
    end
    call('ZREM', K.broken, id)
  end
end

-- Locks whose task is gone, and turns that nobody took: some sites at a time, all of them in turn.
local function mend()
  local found = call('HSCAN', K.sites, call('GET', K.sites_cursor) or '0', 'COUNT', BATCH)
  if found[1] == '0' then call('DEL', K.sites_cursor) else call('SET', K.sites_cursor, found[1]) end
  for n = 1, #found[2], 2 do
    local h, id = found[2][n], found[2][n + 1]
    if id ~= '' and (call('EXISTS', key('task', id)) == 0 or FINAL[redis.pcall('HGET', key('live', id), 'state')]) then
      call('HSET', K.sites, h, '')
      id = ''
    end
    if id == '' then offer(h) end
  end
end

local function forget(id)
  local t = load(id)
  if t then
    unindex(id, t.state, t.owner)
    call('DECRBY', K.done_bytes, int(weight(t)))
  end
  call('DEL', key('task', id), key('live', id), key('out', id), key('events', id), key('secret', id), key('rsecret', id))
  call('ZREM', K.done, id)
  call('ZADD', K.gone, NOW_TEXT, id)
  trimmed = trimmed + 1
end

local function trim()
  local old = call('ZRANGE', K.done, '-inf', int(NOW - tonumber(ARGV[2])), 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, id in ipairs(old) do forget(id) end
  while trimmed < BATCH and (tonumber(call('GET', K.done_bytes)) or 0) > tonumber(ARGV[3]) do
    local id = call('ZRANGE', K.done, 0, 0)[1]
    if not id then
      call('DEL', K.done_bytes)
      break
    end
    forget(id)
  end
  if trimmed >= BATCH then more = 1 end
  if trimmed > 0 then call('ZREMRANGEBYRANK', K.gone, 0, -50001) end
  call('ZREMRANGEBYSCORE', K.workers, '-inf', int(NOW - tonumber(ARGV[10])))
end

-- Owners none of whose tasks is left, a few at a time.
local function forget_owners()
  for _, owner in ipairs(call('SRANDMEMBER', K.owners, 3)) do
    local left = 0
    for _, state in ipairs(STATES) do left = left + call('EXISTS', index(state, owner)) end
    if left == 0 then call('SREM', K.owners, owner) end
  end
end

for s = STAGES, #ARGV, 2 do
  promote(ARGV[s])
  expire(ARGV[s], ARGV[s + 1])
end
end_cleaning()
condemn()
mend()
trim()
forget_owners()
return { promoted, expired, poisoned, trimmed, more }
