-- What happens to a task. Shared by every function that writes; ARGV[1] is how long secrets outlive a failed
-- task (ms). A step is named by its index `i` from 0; its plan entry is {phase, stage, name, mark, share of the progress}:
-- '?' marks one whose failure lets the next phases be done all the same, '!' one that cleans up.

local EVENTS = 500        -- of one task
local CLEAN_UP = 600000   -- ms that cleaning up may take
local FRONT = 1000000000000 -- ms that a step given back is put ahead: before all that was not

-- A site is known by its name, or by a hash of a long one.
local function site_hash(site) return #site <= 40 and site or redis.sha1hex(site) end

-- The end of a task, to be told to its owner: it travels like a task, and nobody lists it.
local function is_delivery(t) return t.kind == 'webhook' end

local function count(what) call('HINCRBY', K.counters, what, 1) end

-- A task that cannot be read: the sweep ends it.
local function set_aside(id) call('ZADD', K.broken, NOW_TEXT, id) end

-- Changes are kept in the task until `flush`, which whoever loaded it calls at last. Nothing is ever taken out: ''
-- stands for nothing.
local function set(t, name, value)
  t.live[name] = value
  local put = t.put
  if not put then
    put = {}
    t.put = put
  end
  put[#put + 1] = name
  put[#put + 1] = value
end

-- Writes what has changed and tells of it.
local function flush(t)
  if t.news and not is_delivery(t) then call('PUBLISH', K.changed, t.id .. ' ' .. t.owner) end
  t.news = nil
  if not t.put then return end
  call('HSET', key('live', t.id), unpack(t.put))
  t.put = false
end

-- What a person should read now.
local function say(t, what, done)
  if what ~= message(t) then set(t, 'message', what == MESSAGES[t.state] and '' or what) end
  if done then set(t, 'percent', done) end
end

-- A change that is no event; what is one counts as a change by itself.
local function changed(t)
  set(t, 'version', (tonumber(t.live.version) or 0) + 1)
  t.news = true
end

-- Adds an event; `i` and `code` may be nil. Its id is when it was, and its number.
local function event(t, i, code)
  t.news = true
  if is_delivery(t) then return end
  local n = (tonumber(t.live.events) or 0) + 1
  set(t, 'events', n)
  local events, of = key('events', t.id), i and step(t, i)
  call('RPUSH', events, NOW_TEXT .. '-' .. n .. '\t' .. t.state .. '\t' .. percent(t) .. '\t' .. (of and of[3] or '')
    .. '\t' .. (of and of[2] or '') .. '\t' .. (code or '') .. '\t' .. message(t))
  if n > EVENTS then call('LTRIM', events, -EVENTS, -1) end
end

local function index_queued(t)
  local leaves = index('queued', t.owner)
  local leaf = leaf_of(leaves, t.id)
  local old = leaf and leaves .. ':' .. leaf
  if leaf and call('ZCARD', old) < LEAF then
    call('ZADD', old, '0', t.id)
    return
  end
  if not leaf then call('SADD', K.owners, t.owner) end
  local new = leaves .. ':' .. t.id
  call('ZADD', leaves, '0', t.id)
  call('ZADD', new, '0', t.id)
  if not leaf then return end
  -- What comes after the new leaf's first is looked for in it.
  for _, id in ipairs(call('ZRANGE', old, '(' .. t.id, '+', 'BYLEX')) do
    call('ZREM', old, id)
    call('ZADD', new, '0', id)
  end
end

-- True when it was there.
local function unindex(id, state, owner)
  local leaves = index(state, owner)
  if state ~= 'queued' then return call('ZREM', leaves, id) == 1 end
  local name = leaf_of(leaves, id)
  if not name then return false end
  local leaf = leaves .. ':' .. name
  if call('ZREM', leaf, id) == 0 then return false end
  if call('EXISTS', leaf) == 0 then call('ZREM', leaves, name) end
  return true
end

local function set_state(t, state)
  if not is_delivery(t) then
    unindex(t.id, t.state, t.owner)
    if state == 'queued' then
      index_queued(t)
    else
      call('ZADD', index(state, t.owner), '0', t.id)
    end
  end
  set(t, 'state', state)
  t.state = state
end

local function write_secrets(t, secrets)
  t.body = string.sub(t.body, 1, t.ends[8]) .. secrets
  t.ends[SECRETS] = #t.body + 1
  call('SET', key('task', t.id), t.body)
end

-- A worker may take the step from now on; it counts as waiting since `since` (ms), or since its task was accepted. Who is
-- idle has found nothing ready, so only the first needs to be told of.
local function make_ready(t, i, since, score)
  local stage = step(t, i)[2]
  local ready = Z.ready[stage]
  call('ZADD', ready, int(score or t.score), member(t, i))
  if call('ZCARD', ready) == 1 then call('PUBLISH', K.work, stage) end
  if since then set(t, FIELDS[i].ready, int(since)) end
end

-- Readies every step of the phase that is not done. True when there was one.
local function start_phase(t, since)
  local any = false
  for i = 0, #t.plan - 1 do
    if step(t, i)[1] == t.phase and t.live[FIELDS[i].state] ~= 'succeeded' then
      make_ready(t, i, since)
      any = true
    end
  end
  return any
end

local function cleans_up(t, i) return step(t, i)[4] == '!' end

-- How far the whole task is: by its steps, each with its share. Never back before a replay.
local function overall(t)
  local done, all = 0, 0
  for i = 0, #t.plan - 1 do
    if not cleans_up(t, i) then
      local share, state = step(t, i)[5], t.live[FIELDS[i].state]
      local over = state == 'succeeded' or (state == 'failed' and step(t, i)[4] == '?')
      all = all + share
      done = done + share * (over and 100 or tonumber(t.live[FIELDS[i].percent]) or 0)
    end
  end
  return math.max(math.floor(done / math.max(all, 1)), tonumber(t.live.percent) or 0)
end

-- Whether a step is not to be done any more.
local function is_off(t, i) return t.ending ~= '' and not cleans_up(t, i) end

-- Takes a step that has no worker out of every queue.
local function withdraw(t, i)
  local stage, m = step(t, i)[2], member(t, i)
  call('ZREM', Z.ready[stage], m)
  call('ZREM', Z.delayed[stage], m)
  call('ZREM', Z.waiting[stage], m)
end

-- The sites' locks, all of them or none. The hash `sites` tells who holds each; '' stands for nobody while others wait
-- for it.
local function startable(t)
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    local holder = call('HGET', K.sites, h)
    if (holder and holder ~= '') or call('ZRANGE', key('siteq', h), 0, 0)[1] ~= t.id then return false end
  end
  return true
end

-- A waiter has the turn on all of its sites.
local function start(t)
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    call('HSET', K.sites, h, t.id)
    call('ZREM', key('siteq', h), t.id)
  end
  for i = 0, #t.plan - 1 do call('ZREM', Z.waiting[step(t, i)[2]], member(t, i)) end
  say(t, MESSAGES.queued)
  start_phase(t, NOW)
  changed(t)
end

-- Takes the locks that nobody holds or waits for; when it cannot have them all, none.
local function lock_at_once(t)
  for n, site in ipairs(t.sites) do
    if call('HSETNX', K.sites, site_hash(site), t.id) == 0 then
      for before = 1, n - 1 do call('HDEL', K.sites, site_hash(t.sites[before])) end
      return false
    end
  end
  return true
end

-- A task that was accepted starts or waits for its sites. True when it has started.
local function enter(t, since)
  if lock_at_once(t) then
    start_phase(t, since)
    return true
  end
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    call('ZADD', key('siteq', h), int(t.score), t.id)
    call('HSETNX', K.sites, h, '')
  end
  if startable(t) then
    start(t)
    return true
  end
  for i = 0, #t.plan - 1 do
    if step(t, i)[1] == t.phase then call('ZADD', Z.waiting[step(t, i)[2]], int(t.score), member(t, i)) end
  end
  return false
end

-- Offers the turn on a free site to the first that waits for it.
local function offer(h)
  for _ = 1, BATCH do
    local id = call('ZRANGE', key('siteq', h), 0, 0)[1]
    if not id then
      if call('HGET', K.sites, h) == '' then call('HDEL', K.sites, h) end
      return
    end
    local t = load(id)
    if t and t.sound and t.state == 'queued' then
      if startable(t) then
        start(t)
        flush(t)
      end
      return
    end
    call('ZREM', key('siteq', h), id)
    if t and not t.sound then set_aside(id) end
  end
end

local function unlock(t)
  local free
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    local waiters = key('siteq', h)
    local held = call('HGET', K.sites, h) == t.id
    if not held then call('ZREM', waiters, t.id) end -- it waited
    if call('EXISTS', waiters) == 1 then
      if held then call('HSET', K.sites, h, '') end
      free = free or {}
      free[#free + 1] = h
    elseif held then
      call('HDEL', K.sites, h)
    end
  end
  if not free then return end
  for _, h in ipairs(free) do offer(h) end
end

-- The message of a task's end: the same however often this runs, another one after a replay.
local function delivery_of(t)
  local hex = redis.sha1hex(t.id .. ' ' .. (t.live.replays or '0'))
  return (string.gsub(hex, '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)%x(%x%x%x)%x(%x%x%x)(%x%x%x%x%x%x%x%x%x%x%x%x).*', '%1-%2-8%3-8%4-%5'))
end

-- Queues the news of a task's end for its owner's address.
local function queue_delivery(t, code)
  if not has_line(t, CALLBACK) then return end
  local id = delivery_of(t)
  local news = table.concat({ t.id, t.kind, t.state, code or '-', int(t.created), NOW_TEXT }, ' ')
  call('SET', key('task', id), table.concat({ '1 ' .. NOW_TEXT .. ' 0', 'webhook', t.owner, '0 webhook deliver', '', line(t, TRACE), '',
    news, line(t, CALLBACK) }, '\n'))
  local d = load(id)
  make_ready(d, 0)
  set(t, 'callback', 'queued')
end

-- A delivery ends: nothing of it is kept but how it went, with its task.
local function finish_delivery(d, state, code)
  call('DEL', key('task', d.id), key('live', d.id))
  d.put = false
  if code then count('dead_total:' .. code) end
  local t = load(string.match(line(d, REQUEST), '^%S+'))
  if t and t.sound and FINAL[t.state] and delivery_of(t) == d.id then
    set(t, 'callback', state)
    set(t, 'callback_code', code or '')
    changed(t)
    flush(t)
  end
end

-- What a finished task weighs, about, in bytes of Redis' memory. The same as long as it is finished.
local function weight(t)
  local live = t.live
  local secrets = (tonumber(live.secrets) or 0) + (tonumber(live.sealed) or 0)
  return 1300 + #t.body + secrets + (tonumber(live.out) or 0) + 160 * math.min(tonumber(live.events) or 0, EVENTS)
end

-- Keeps what a task leaves behind: results of its steps, and its problem.
local function put_out(t, name, value)
  call('HSET', key('out', t.id), name, value)
  set(t, 'out', (tonumber(t.live.out) or 0) + #value + 64)
end

-- Ends a task none of whose leases lives. `problem` and `code` only when it failed.
local function finish(t, state, what, problem, code)
  for i = 0, #t.plan - 1 do
    local unneeded = cleans_up(t, i) and (t.live[FIELDS[i].ready] or '') == ''
    if not unneeded and not FINAL[t.live[FIELDS[i].state]] then
      withdraw(t, i)
      set(t, FIELDS[i].state, 'cancelled')
      if t.live[FIELDS[i].started] then set(t, FIELDS[i].finished, NOW_TEXT) end
    end
  end
  if t.plan.clean_up then call('ZREM', K.cleaning, t.id) end
  set_state(t, state)
  if state ~= 'succeeded' then set(t, 'finished', NOW_TEXT) end -- else its last step says when
  if is_delivery(t) then return finish_delivery(t, state, code) end
  say(t, what)
  if problem then
    put_out(t, 'problem', problem)
    count('dead_total:' .. code)
  end
  if t.sound then
    if has_line(t, SECRETS) then
      if state == 'failed' then
        if ARGV[1] ~= '0' then call('SET', key('secret', t.id), line(t, SECRETS), 'PX', ARGV[1]) end
        set(t, 'secrets', t.ends[SECRETS] - t.ends[8] - 1) -- so many bytes
      end
      write_secrets(t, '')
    end
    queue_delivery(t, code)
  end
  if t.live.sealed then call('PEXPIRE', key('rsecret', t.id), ARGV[1]) end
  event(t, nil, code)
  call('INCRBY', K.done_bytes, int(weight(t)))
  call('ZADD', K.done, NOW_TEXT, t.id)
  unlock(t)
end

local function has_lease(t, i)
  return (t.live[FIELDS[i].token] or '') ~= '' and not FINAL[t.live[FIELDS[i].state]]
end

local function any_lease(t)
  for i = 0, #t.plan - 1 do
    if has_lease(t, i) then return true end
  end
  return false
end

-- The task, when this lease on step `i` lives; else nil, which is counted: somebody wrote too late.
local function leased(id, i, token)
  local t = load(id)
  if t and t.sound and not FINAL[t.state] and step(t, i) and t.live[FIELDS[i].token] == token then
    local till = call('ZSCORE', Z.leases[step(t, i)[2]], member(t, i))
    if till and tonumber(till) > NOW then return t end
  end
  count('late_writes_total')
  return nil
end

-- Ends the lease on a step; `state` is what the step has ended with, nil when it has not.
local function unlease(t, i, state)
  call('ZREM', Z.leases[step(t, i)[2]], member(t, i))
  if state then
    set(t, FIELDS[i].state, state)
    set(t, FIELDS[i].finished, NOW_TEXT)
  else
    set(t, FIELDS[i].token, '')
  end
end

-- Ends a task none of whose leases lives as it was to end.
local function end_as_meant(t)
  local out, problem = key('out', t.id), nil
  if t.live.ending_code then
    problem = call('HGET', out, 'ending')
    call('HDEL', out, 'ending')
  end
  if t.ending == 'cancelled' then
    finish(t, 'cancelled', MESSAGES.cancelled)
  else
    finish(t, 'failed', t.live.ending_message, problem, t.live.ending_code)
  end
end

-- Whether some step that cleans up has not ended. Begins to clean up when there is a reason to.
local function must_clean_up(t)
  local last = t.plan.clean_up
  if not last then return false end
  if t.phase ~= last then
    if t.state ~= 'running' then return false end -- nothing was done that could be undone
    t.phase = last
    set(t, 'phase', int(last))
    call('ZADD', K.cleaning, int(NOW + CLEAN_UP), t.id)
    start_phase(t, NOW)
    say(t, 'Cleaning up.')
    event(t)
    return true
  end
  for i = 0, #t.plan - 1 do
    if cleans_up(t, i) and not FINAL[t.live[FIELDS[i].state]] then return true end
  end
  return false
end

-- Ends a task that is ending as soon as no worker has any of it, and what cleans up is done. True when it has ended.
local function conclude(t)
  if any_lease(t) or must_clean_up(t) then return false end
  end_as_meant(t)
  return true
end

local function note_problem(t, what, problem, code)
  call('HSET', key('out', t.id), 'ending', problem)
  set(t, 'ending_message', what)
  set(t, 'ending_code', code)
end

-- Stops a task: what waits is withdrawn, what runs hears of it with its next heartbeat. True when it has ended.
local function stop(t, ending, what, problem, code)
  if t.ending == '' then
    t.ending = ending
    set(t, 'ending', ending)
    if problem then note_problem(t, what, problem, code) end
  end
  for i = 0, #t.plan - 1 do
    if not cleans_up(t, i) and not has_lease(t, i) then withdraw(t, i) end
  end
  return conclude(t)
end

-- A step is over and does not end the task by itself: the last of its phase starts the next phase, the last of all ends
-- the task. True when it has ended.
local function go_on(t)
  local phase_done, last = true, true
  for n = 0, #t.plan - 1 do
    local state, optional = t.live[FIELDS[n].state], step(t, n)[4] == '?'
    if state ~= 'succeeded' and not (optional and state == 'failed') and not cleans_up(t, n) then
      last = false
      if step(t, n)[1] == t.phase then phase_done = false end
    end
  end
  if last and t.phase ~= t.plan.clean_up then -- also when its owner asked too late for its end
    if (t.live.ending_code or '') == '' then
      finish(t, 'succeeded', MESSAGES.succeeded)
    else
      t.ending = 'failed'
      end_as_meant(t)
    end
    return true
  end
  if t.ending ~= '' then return conclude(t) end
  if phase_done then
    -- A phase all of whose steps were done before a replay is passed over.
    repeat t.phase = t.phase + 1 until start_phase(t, NOW)
    set(t, 'phase', int(t.phase))
  end
  return false
end

-- A step has failed for good. True when its task has ended.
local function spoil(t, i, what, problem, code)
  unlease(t, i, 'failed')
  if cleans_up(t, i) then return conclude(t) end
  if step(t, i)[4] ~= '?' then return stop(t, 'failed', what, problem, code) end
  note_problem(t, what, problem, code)
  if go_on(t) then return true end
  set(t, 'percent', int(overall(t)))
  event(t, i, code)
  return false
end

-- Whether the owner may have another task. Nil when so, which is counted as one; else which limit says no, and for
-- how long (ms). ARGV[first] is tasks a minute, the next unfinished tasks, each '' for no limit. The rate is GCRA with
-- the whole minute as its burst.
local function refused(owner, first)
  local a_minute, at_once = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  if at_once then
    local has, leaves = call('ZCARD', index('running', owner)), index('queued', owner)
    for _, leaf in ipairs(call('ZRANGE', leaves, 0, at_once - 1)) do
      if has >= at_once then break end
      has = has + call('ZCARD', leaves .. ':' .. leaf)
    end
    if has >= at_once then return { 'limited', 'concurrent', '0' } end
  end
  if a_minute then
    local rate, each = Z.rate[owner], 60000 / a_minute
    -- A time far ahead was written before the clock was set back.
    local due = math.min(math.max(tonumber(call('GET', rate)) or 0, NOW), NOW + 60000) + each
    if due > NOW + 60000 then return { 'limited', 'rate', int(math.ceil(due - NOW - 60000)) } end
    call('SET', rate, int(math.ceil(due)), 'PX', 120000)
  end
end
