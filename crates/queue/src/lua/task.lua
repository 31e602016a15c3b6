-- What happens to a task. Shared by every script that writes; ARGV[1] is how long secrets outlive a failed
-- task (ms). A step is named by its index `i` from 0; its plan entry is {phase, stage, name}.

local KEEP_SECRETS = tonumber(ARGV[1])
local EVENTS = 500        -- of one task
local FRONT = 1000000000000 -- ms that a step given back is put ahead: before all that was not

local function step(t, i) return t.plan[i + 1] end
local function member(t, i) return t.id .. ':' .. int(i) end
local function field(i, name) return int(i) .. '.' .. name end
local function zset(name, stage) return P .. name .. ':' .. stage end
local function lock_key(h) return P .. 'site:' .. h end
local function siteq_key(h) return P .. 'siteq:' .. h end

local function tell(what) call('PUBLISH', P .. 'signal', what) end

-- Stores what a person should read now.
local function say(t, message, percent)
  t.message = message
  t.percent = percent or t.percent
  call('HSET', t.key, 'message', t.message, 'percent', int(t.percent))
end

-- Counts a change and tells of it, without an event: a stream takes 4 KiB, which what waits should not cost.
local function changed(t)
  call('HINCRBY', t.key, 'version', 1)
  tell('t:' .. t.id)
end

-- Adds an event; `i` and `code` may be nil.
local function event(t, i, code)
  local e = { 's', t.state, 'p', int(t.percent), 'm', t.message }
  if i then
    e[#e + 1] = 'i'; e[#e + 1] = step(t, i)[3]
    e[#e + 1] = 'g'; e[#e + 1] = step(t, i)[2]
  end
  if code then e[#e + 1] = 'c'; e[#e + 1] = code end
  call('XADD', P .. 'events:' .. t.id, 'MAXLEN', EVENTS, '*', unpack(e))
  changed(t)
end

local function set_state(t, state)
  call('ZREM', index(t.state), t.id)
  call('ZREM', index(t.state, t.owner), t.id)
  call('ZADD', index(state), 0, t.id)
  call('ZADD', index(state, t.owner), 0, t.id)
  call('HSET', t.key, 'state', state)
  t.state = state
end

-- A worker may take the step from now on; it counts as waiting since `since` (ms).
local function make_ready(t, i, since, score)
  local stage = step(t, i)[2]
  call('ZADD', zset('ready', stage), int(score or t.score), member(t, i))
  call('HSET', t.key, field(i, 'ready'), int(since))
  tell('w:' .. stage)
end

local function start_phase(t)
  for i = 0, #t.plan - 1 do
    if step(t, i)[1] == t.phase then make_ready(t, i, NOW) end
  end
end

-- Takes a step that has no worker out of every queue.
local function withdraw(t, i)
  local stage, m = step(t, i)[2], member(t, i)
  call('ZREM', zset('ready', stage), m)
  call('ZREM', zset('delayed', stage), m)
  call('ZREM', zset('waiting', stage), m)
end

-- The sites' locks: all of them or none.
local function startable(t)
  for _, site in ipairs(t.sites) do
    local h = redis.sha1hex(site)
    if call('EXISTS', lock_key(h)) == 1 or call('ZRANGE', siteq_key(h), 0, 0)[1] ~= t.id then return false end
  end
  return true
end

local function start(t)
  for _, site in ipairs(t.sites) do
    local h = redis.sha1hex(site)
    call('SET', lock_key(h), t.id)
    call('ZREM', siteq_key(h), t.id)
    call('ZADD', P .. 'sites', int(NOW), h)
  end
  for i = 0, #t.plan - 1 do call('ZREM', zset('waiting', step(t, i)[2]), member(t, i)) end
  say(t, 'Waiting for a worker.')
  start_phase(t)
  changed(t)
end

-- Offers the turn on a free site to the first that waits for it.
local function offer(h)
  for _ = 1, BATCH do
    local id = call('ZRANGE', siteq_key(h), 0, 0)[1]
    if not id then return end
    local t = load(id)
    if t and t.sound and t.state == 'queued' then
      if startable(t) then start(t) end
      return
    end
    call('ZREM', siteq_key(h), id)
    if t and not t.sound then call('ZADD', P .. 'broken', int(NOW), id) end
  end
end

-- Ends a task none of whose leases lives. `problem` and `code` only when it failed.
local function finish(t, state, message, problem, code)
  for i = 0, #t.plan - 1 do
    if not FINAL[call('HGET', t.key, field(i, 'state'))] then
      withdraw(t, i)
      call('HSET', t.key, field(i, 'state'), 'cancelled')
      if call('HEXISTS', t.key, field(i, 'started')) == 1 then
        call('HSET', t.key, field(i, 'finished'), int(NOW))
      end
    end
  end
  set_state(t, state)
  say(t, message, state == 'succeeded' and 100 or nil)
  call('HSET', t.key, 'finished', int(NOW))
  if problem then
    call('HSET', t.key, 'problem', problem)
    call('HINCRBY', P .. 'counters', 'dead_total:' .. code, 1)
  end
  if state == 'failed' then
    call('PEXPIRE', P .. 'secret:' .. t.id, KEEP_SECRETS)
  else
    call('DEL', P .. 'secret:' .. t.id)
  end
  call('PEXPIRE', P .. 'rsecret:' .. t.id, KEEP_SECRETS)
  event(t, nil, code)

  -- About what Redis needs: a stream grows by nodes of 4 KiB, which hold some forty events each.
  local bytes = 2048 + 4096 * math.ceil(call('XLEN', P .. 'events:' .. t.id) / 40)
  for _, value in ipairs(call('HVALS', t.key)) do bytes = bytes + #value end
  call('HSET', t.key, 'bytes', int(bytes))
  call('INCRBY', P .. 'done_bytes', int(bytes))
  call('ZADD', P .. 'done', int(NOW), t.id)

  for _, site in ipairs(t.sites) do
    local h = redis.sha1hex(site)
    if call('GET', lock_key(h)) == t.id then call('DEL', lock_key(h)) end
    call('ZREM', siteq_key(h), t.id)
  end
  for _, site in ipairs(t.sites) do offer(redis.sha1hex(site)) end
end

local function live(t)
  for i = 0, #t.plan - 1 do
    if call('HEXISTS', t.key, field(i, 'token')) == 1 then return true end
  end
  return false
end

-- The task, when this lease on step `i` lives; else nil.
local function leased(id, i, token)
  local t = load(id)
  if not t or not t.sound or FINAL[t.state] or not step(t, i) then return nil end
  if call('HGET', t.key, field(i, 'token')) ~= token then return nil end
  local till = call('ZSCORE', zset('leases', step(t, i)[2]), member(t, i))
  if not till or tonumber(till) <= NOW then return nil end
  return t
end

-- Ends the lease on a step; `state` is what the step has ended with, nil when it has not.
local function unlease(t, i, state)
  call('ZREM', zset('leases', step(t, i)[2]), member(t, i))
  call('HDEL', t.key, field(i, 'token'), field(i, 'worker'))
  if state then call('HSET', t.key, field(i, 'state'), state, field(i, 'finished'), int(NOW)) end
end

-- Ends a task that is ending as soon as no worker has any of it. True when it has ended.
local function conclude(t)
  if live(t) then return false end
  if t.ending == 'cancelled' then
    finish(t, 'cancelled', 'Cancelled.')
  else
    local f = call('HMGET', t.key, 'ending_message', 'ending_problem', 'ending_code')
    call('HDEL', t.key, 'ending_message', 'ending_problem', 'ending_code')
    finish(t, 'failed', f[1], f[2], f[3])
  end
  return true
end

-- Stops a task: what waits is withdrawn, what runs hears of it with its next heartbeat. True when it has ended.
local function stop(t, ending, message, problem, code)
  if t.ending == '' then
    t.ending = ending
    call('HSET', t.key, 'ending', ending)
    if problem then
      call('HSET', t.key, 'ending_message', message, 'ending_problem', problem, 'ending_code', code)
    end
  end
  for i = 0, #t.plan - 1 do
    if call('HEXISTS', t.key, field(i, 'token')) == 0 then withdraw(t, i) end
  end
  return conclude(t)
end
