-- Changing a task: its state, progress, events, and its steps in the queues. ARGV[1] of every function that writes is how
-- long secrets outlive a failed task (ms).

local EVENTS = 500          -- the most events of one task
local CLEANUP = 600000      -- ms that cleaning up may take
local FRONT_OFFSET_MS = 1000000000000 -- puts a released step before all others of its owner
local UNREADABLE_RETRY = 60000 -- ms after which a step that could not be read is offered again

-- The lock of a site is named after the site, or after a hash of a long name.
local function site_hash(site) return #site <= 40 and site or redis.sha1hex(site) end

-- Whether this is a callback, or a clean-up of a site. They are queued like tasks, and not listed.
local function is_delivery(t) return t.kind == 'webhook' end
local function is_site_cleanup(t) return t.kind == 'site-cleanup' end
local function is_internal(t) return is_delivery(t) or is_site_cleanup(t) end

-- An id (a UUID) that is the same whenever it is derived from this text.
local function derived_id(text)
  return (string.gsub(redis.sha1hex(text), '^(%x%x%x%x%x%x%x%x)(%x%x%x%x)%x(%x%x%x)%x(%x%x%x)(%x%x%x%x%x%x%x%x%x%x%x%x).*',
    '%1-%2-8%3-8%4-%5'))
end

local release_locks -- in sites.lua

-- What a task has left on a site which it shares, and what it remembers of that: the name of its registration
-- (registration.rs of the worker), and its checkpoint (migrator_install_marker.rs).
local SHARED_CLEANUP = 'source'
local function installed_checkpoint(name) return 'checkpoint.migrator.' .. name end

-- Whether a task is no more, or has ended.
local function is_gone(id)
  return call('EXISTS', task_key('task', id)) == 0 or FINAL[redis.pcall('HGET', task_key('live', id), 'state')] == true
end

local function is_cleanup_step(t, i) return step(t, i)[4] == '!' end

local function increment(counter) call('HINCRBY', KEY.counters, counter, 1) end

-- Remembers a corrupt record, for the sweep to end its task.
local function quarantine(id) call('ZADD', KEY.quarantine, NOW_TEXT, id) end

-- Remembers a task that this version of the program cannot read and leaves as it is.
local function note_unreadable(id) call('ZADD', KEY.unreadable, NOW_TEXT, id) end

-- Remembers a task that was loaded and is not readable.
local function report_unreadable(t)
  if t.other_version then note_unreadable(t.id) else quarantine(t.id) end
end

-- Changes are collected in the task until `flush`, which is called last by the function that loaded it. No field is ever
-- deleted: '' means none.
local function set(t, name, value)
  t.live[name] = value
  local writes = t.writes
  if not writes then
    writes = {}
    t.writes = writes
  end
  writes[#writes + 1] = name
  writes[#writes + 1] = value
end

-- Writes the collected changes and publishes that the task has changed.
local function flush(t)
  if t.publish and not is_internal(t) then call('PUBLISH', KEY.task_changed, t.id .. ' ' .. t.owner) end
  t.publish = nil
  if not t.writes then return end
  call('HSET', task_key('live', t.id), unpack(t.writes))
  t.writes = false
end

local function set_message(t, text, new_percent)
  if text ~= message(t) then set(t, 'message', text == MESSAGES[t.state] and '' or text) end
  if new_percent then set(t, 'percent', new_percent) end
end

-- Counts a change that is no event. (The revision of a task is this count plus that of its events.)
local function bump_revision(t)
  set(t, 'revision', (tonumber(t.live.revision) or 0) + 1)
  t.publish = true
end

-- Adds an event; `i` and `code` may be nil. Its id is its time and its number.
local function add_event(t, i, code)
  t.publish = true
  if is_internal(t) then return end
  local n = (tonumber(t.live.events) or 0) + 1
  set(t, 'events', n)
  local events, of = task_key('events', t.id), i and step(t, i)
  call('RPUSH', events, NOW_TEXT .. '-' .. n .. '\t' .. t.state .. '\t' .. percent(t) .. '\t' .. (of and of[3] or '')
    .. '\t' .. (of and of[2] or '') .. '\t' .. (code or '') .. '\t' .. message(t))
  if n > EVENTS then call('LTRIM', events, -EVENTS, -1) end
end

local function index_queued(t)
  local buckets = index('queued', t.owner)
  local bucket = bucket_of(buckets, t.id)
  local old = bucket and buckets .. ':' .. bucket
  if bucket and call('ZCARD', old) < BUCKET_SIZE then
    call('ZADD', old, '0', t.id)
    return
  end
  if not bucket then call('SADD', KEY.owners, t.owner) end
  local new = buckets .. ':' .. t.id
  call('ZADD', buckets, '0', t.id)
  call('ZADD', new, '0', t.id)
  if not bucket then return end
  -- Ids after the first of the new bucket are looked up in it.
  for _, id in ipairs(call('ZRANGE', old, '(' .. t.id, '+', 'BYLEX')) do
    call('ZREM', old, id)
    call('ZADD', new, '0', id)
  end
end

-- Returns whether the id was in the index.
local function unindex(id, state, owner)
  local buckets = index(state, owner)
  if state ~= 'queued' then return call('ZREM', buckets, id) == 1 end
  local name = bucket_of(buckets, id)
  if not name then return false end
  local bucket = buckets .. ':' .. name
  if call('ZREM', bucket, id) == 0 then return false end
  if call('EXISTS', bucket) == 0 then call('ZREM', buckets, name) end
  return true
end

local function set_state(t, state)
  if not is_internal(t) then
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
  call('SET', task_key('task', t.id), t.body)
end

-- The ready steps of one owner in a stage. `ready:<stage>` has the owners with ready steps, in the order of their turns.
local function ready_steps(stage, owner) return KEY_OF['ready:' .. stage][owner] end

-- Gives an owner its next turn in a stage after that of all others.
local function move_to_last_turn(stage, owner)
  local turns = KEY_OF.ready[stage]
  local last = call('ZRANGE', turns, 0, 0, 'REV', 'WITHSCORES')
  if last[1] ~= owner then call('ZADD', turns, int((tonumber(last[2]) or 0) + 1), owner) end
end

-- Adds a step to the ready steps of its owner in a stage. Only the first one is signalled: a worker that claims nothing any
-- more has found that the owner had none.
local function add_ready(stage, owner, m, score)
  local steps = ready_steps(stage, owner)
  call('ZADD', steps, int(score), m)
  if call('ZCARD', steps) > 1 then return end
  move_to_last_turn(stage, owner)
  call('PUBLISH', KEY.stage_ready, stage)
end

local function remove_ready(stage, owner, m)
  local steps = ready_steps(stage, owner)
  if call('ZREM', steps, m) == 1 and call('EXISTS', steps) == 0 then call('ZREM', KEY_OF.ready[stage], owner) end
end

-- Makes a step ready. Its wait counts from `since` (ms), or from when the task was accepted.
local function make_ready(t, i, since, score)
  add_ready(step(t, i)[2], t.owner, member(t, i), score or t.score)
  if since then set(t, FIELDS[i].ready, int(since)) end
end

-- Makes every step of the current phase ready that is not done. Returns whether there was one.
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

-- The progress of the whole task in percent: each step has its share. It never goes back, except in a replay.
local function overall_percent(t)
  local done, all = 0, 0
  for i = 0, #t.plan - 1 do
    if not is_cleanup_step(t, i) then
      local share, state = step(t, i)[5], t.live[FIELDS[i].state]
      local over = state == 'succeeded' or (state == 'failed' and step(t, i)[4] == '?')
      all = all + share
      done = done + share * (over and 100 or tonumber(t.live[FIELDS[i].percent]) or 0)
    end
  end
  return math.max(math.floor(done / math.max(all, 1)), tonumber(t.live.percent) or 0)
end

-- Whether a step need not be done any more, because its task is ending.
local function is_abandoned(t, i) return t.ending ~= '' and not is_cleanup_step(t, i) end

-- Removes a step without a lease from every queue.
local function dequeue(t, i)
  local stage, m = step(t, i)[2], member(t, i)
  remove_ready(stage, t.owner, m)
  call('ZREM', KEY_OF.delayed[stage], m)
  call('ZREM', KEY_OF.waiting[stage], m)
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

-- The task when this lease on step `i` is valid; else nil, which is counted as a late write.
local function load_leased(id, i, token)
  local t = load_task(id)
  if t and t.readable and not FINAL[t.state] and step(t, i) and t.live[FIELDS[i].token] == token then
    local expires = call('ZSCORE', KEY_OF.leases[step(t, i)[2]], member(t, i))
    if expires and tonumber(expires) > NOW then return t end
  end
  increment('late_writes_total')
  return nil
end

-- Whether no worker has written under the lease on a step yet: none may know of it.
local function is_unconfirmed(t, i) return (t.live[FIELDS[i].nonce] or '') ~= '' end

-- Remembers that the holder of a lease is there.
local function confirm_claim(t, i)
  if is_unconfirmed(t, i) then set(t, FIELDS[i].nonce, '') end
end

-- Ends the lease on a step; `state` is the final state of the step, nil when it has none yet.
local function end_lease(t, i, state)
  call('ZREM', KEY_OF.leases[step(t, i)[2]], member(t, i))
  if is_site_cleanup(t) then release_locks(t) end -- it has them for one attempt
  if state then
    set(t, FIELDS[i].state, state)
    set(t, FIELDS[i].finished, NOW_TEXT)
  else
    set(t, FIELDS[i].token, '')
    confirm_claim(t, i)
  end
end

local function delay_step(t, i, ms)
  call('ZADD', KEY_OF.delayed[step(t, i)[2]], int(NOW + ms), member(t, i))
end

-- Clears the note that a worker could not read the task.
local function clear_unreadable(t)
  if (t.live.unreadable or '') == '' then return end
  set(t, 'unreadable', '')
  call('ZREM', KEY.unreadable, t.id)
end
