-- How tasks and callbacks end.

-- The message id of a callback: the same however often this runs, another one after a replay.
local function delivery_id(t)
  return derived_id(t.id .. ' ' .. (t.live.replays or '0'))
end

-- Queues the callback of a task that has ended.
local function queue_delivery(t, code)
  if not has_line(t, CALLBACK) then return end
  local id = delivery_id(t)
  local content = table.concat({ t.id, t.kind, t.state, code or '-', int(t.created), NOW_TEXT }, ' ')
  call('SET', task_key('task', id), table.concat({ RECORD_VERSION .. ' ' .. NOW_TEXT .. ' 0' .. t.sharing, 'webhook', t.owner,
    '0 webhook deliver', '', line(t, TRACE), '', content, line(t, CALLBACK) }, '\n'))
  local d = load_task(id)
  make_ready(d, 0)
  set(t, 'callback', 'queued')
end

-- Ends a callback. Its record is deleted; its task keeps how it ended.
local function finish_delivery(d, state, code)
  call('DEL', task_key('task', d.id), task_key('live', d.id))
  d.writes = false
  if code then increment('dead_total:' .. code) end
  local t = load_task(string.match(line(d, REQUEST), '^%S+'))
  if t and t.readable and FINAL[t.state] and delivery_id(t) == d.id then
    set(t, 'callback', state)
    set(t, 'callback_code', code or '')
    bump_revision(t)
    flush(t)
  end
end

-- The approximate size of a finished task in Redis' memory, in bytes. It does not change while the task is finished.
local function finished_size(t)
  local live = t.live
  local secrets = (tonumber(live.request_secret_bytes) or 0) + (tonumber(live.result_secret_bytes) or 0)
  return 1300 + #t.body + secrets + (tonumber(live.output_bytes) or 0) + 160 * math.min(tonumber(live.events) or 0, EVENTS)
end

-- Counts a task as finished: the oldest are deleted when there are too many.
local function add_finished(t)
  local size = int(finished_size(t))
  call('INCRBY', KEY.finished_bytes, size)
  call('ZINCRBY', KEY.finished_bytes_by_owner, size, t.owner)
  call('ZADD', KEY.finished, NOW_TEXT, t.id)
  call('ZADD', KEY_OF.finished[t.owner], NOW_TEXT, t.id)
end

-- Undoes add_finished, before anything of the task is changed or deleted.
local function remove_finished(t)
  local size = finished_size(t)
  call('DECRBY', KEY.finished_bytes, int(size))
  local left = call('ZINCRBY', KEY.finished_bytes_by_owner, int(-size), t.owner)
  if tonumber(left) <= 0 then call('ZREM', KEY.finished_bytes_by_owner, t.owner) end
  call('ZREM', KEY.finished, t.id)
  call('ZREM', KEY_OF.finished[t.owner], t.id)
end

-- Stores a step's result, or the problem.
local function store_output(t, name, value)
  call('HSET', task_key('output', t.id), name, value)
  set(t, 'output_bytes', (tonumber(t.live.output_bytes) or 0) + #value + 64)
end

-- Ends a task that has no lease. `problem` and `code` only when it failed. Also for corrupt tasks (purge_corrupt).
local function finish(t, state, text, problem, code)
  for i = 0, #t.plan - 1 do
    local unneeded = is_cleanup_step(t, i) and (t.live[FIELDS[i].ready] or '') == ''
    if not unneeded and not FINAL[t.live[FIELDS[i].state]] then
      dequeue(t, i)
      set(t, FIELDS[i].state, 'cancelled')
      if t.live[FIELDS[i].started] then set(t, FIELDS[i].finished, NOW_TEXT) end
    end
  end
  if t.plan.cleanup_phase then call('ZREM', KEY.cleanup_deadlines, t.id) end
  clear_unreadable(t)
  set_state(t, state)
  if state ~= 'succeeded' then set(t, 'finished', NOW_TEXT) end -- otherwise its last step has the time
  if is_delivery(t) then return finish_delivery(t, state, code) end
  if is_site_cleanup(t) then return finish_site_cleanup(t, state) end
  if t.readable then
    leave_shared_sites(t)
    local left, manual = queue_site_cleanups(t, t.phase ~= t.plan.cleanup_phase)
    if left and state == 'cancelled' then text = text .. ' What is left on ' .. left .. ' is removed as soon as it can be reached.' end
    if manual and state == 'cancelled' then text = text .. ' ' .. manual end
  end
  set_message(t, text)
  if problem then
    store_output(t, 'problem', problem)
    increment('dead_total:' .. code)
  end
  if t.readable then
    if has_line(t, SECRETS) then
      if state == 'failed' then
        if ARGV[1] ~= '0' then call('SET', task_key('request_secrets', t.id), line(t, SECRETS), 'PX', ARGV[1]) end
        set(t, 'request_secret_bytes', t.ends[SECRETS] - t.ends[8] - 1)
      end
      write_secrets(t, '')
    end
    queue_delivery(t, code)
  end
  if t.live.result_secret_bytes then call('PEXPIRE', task_key('result_secrets', t.id), ARGV[1]) end
  add_event(t, nil, code)
  add_finished(t)
  release_locks(t)
end

-- Ends a task that has no lease with the state and problem that `stop_task` recorded.
local function finish_as_recorded(t)
  local output, problem = task_key('output', t.id), nil
  if t.live.ending_code then
    problem = call('HGET', output, 'ending')
    call('HDEL', output, 'ending')
  end
  if t.ending == 'cancelled' then
    finish(t, 'cancelled', MESSAGES.cancelled)
  else
    finish(t, 'failed', t.live.ending_message, problem, t.live.ending_code)
  end
end

-- Whether a cleanup step has not ended. Starts the cleanup phase when it is needed.
local function needs_cleanup(t)
  local last = t.plan.cleanup_phase
  if not last then return false end
  if t.phase ~= last then
    if t.state ~= 'running' then return false end -- nothing was done
    t.phase = last
    set(t, 'phase', int(last))
    leave_shared_sites(t)
    release_locks(t, sites_to_clean_up(t))
    call('ZADD', KEY.cleanup_deadlines, int(NOW + CLEANUP), t.id)
    start_phase(t, NOW)
    set_message(t, 'Cleaning up.')
    add_event(t)
    return true
  end
  for i = 0, #t.plan - 1 do
    if is_cleanup_step(t, i) and not FINAL[t.live[FIELDS[i].state]] then return true end
  end
  return false
end

-- Ends a task that is ending once it has no lease and its cleanup is done. Returns whether it has ended.
local function finish_if_idle(t)
  if any_lease(t) or needs_cleanup(t) then return false end
  finish_as_recorded(t)
  return true
end

local function record_problem(t, title, problem, code)
  call('HSET', task_key('output', t.id), 'ending', problem)
  set(t, 'ending_message', title)
  set(t, 'ending_code', code)
end

-- Stops a task: waiting steps are removed, running ones are asked to stop by their next heartbeat. Returns whether it has
-- ended.
local function stop_task(t, ending, title, problem, code)
  if t.ending == '' then
    t.ending = ending
    set(t, 'ending', ending)
    if problem then record_problem(t, title, problem, code) end
  end
  for i = 0, #t.plan - 1 do
    if not is_cleanup_step(t, i) and not has_lease(t, i) then dequeue(t, i) end
  end
  return finish_if_idle(t)
end

-- Called when a step has ended and does not end the task by itself: the last step of a phase starts the next phase, the last
-- of all ends the task. Returns whether the task has ended.
local function advance(t)
  local phase_done, last = true, true
  for n = 0, #t.plan - 1 do
    local state, optional = t.live[FIELDS[n].state], step(t, n)[4] == '?'
    if state ~= 'succeeded' and not (optional and state == 'failed') and not is_cleanup_step(t, n) then
      last = false
      if step(t, n)[1] == t.phase then phase_done = false end
    end
  end
  if last and t.phase ~= t.plan.cleanup_phase then -- also when it was cancelled too late
    if (t.live.ending_code or '') == '' then
      finish(t, 'succeeded', MESSAGES.succeeded)
    else
      t.ending = 'failed'
      finish_as_recorded(t)
    end
    return true
  end
  if t.ending ~= '' then return finish_if_idle(t) end
  if phase_done then
    -- A phase that was done before a replay is skipped.
    repeat t.phase = t.phase + 1 until start_phase(t, NOW)
    set(t, 'phase', int(t.phase))
  end
  return false
end

-- A step has failed for good. Returns whether its task has ended.
local function fail_step(t, i, title, problem, code)
  end_lease(t, i, 'failed')
  if is_cleanup_step(t, i) then return finish_if_idle(t) end
  if step(t, i)[4] ~= '?' then return stop_task(t, 'failed', title, problem, code) end
  record_problem(t, title, problem, code)
  if advance(t) then return true end
  set(t, 'percent', int(overall_percent(t)))
  add_event(t, i, code)
  return false
end
