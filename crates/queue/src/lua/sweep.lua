-- Does what has become due. Idempotent; each part handles at most a batch. Records of another version are never deleted or
-- changed: their entries are only put off, for a program that can read them.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 finished_retention ms, 3 finished_max_bytes, 4 max_crashes,
--       5 problem, 6 code, 7 title for corrupt records, 8 code, 9 title for poison, 10 how long workers are kept (ms),
--       11 lease ms, 12 the longest delay (ms), 13.. pairs of stage and its poison problem
-- Returns {promoted, expired, poisoned, trimmed, 1 when a batch was full}

local STAGES = 13
local promoted, expired, poisoned, trimmed, more = 0, 0, 0, 0, 0

local function due_entries(queue, limit)
  local found = call('ZRANGE', queue, '-inf', NOW_TEXT, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
  if #found == 2 * limit then more = 1 end
  return found
end

-- Corrects entries that lie too far ahead because they were written before the clock was set back.
local function clamp_scores(queue, longest)
  local far = call('ZRANGE', queue, '(' .. int(NOW + longest), '+inf', 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, m in ipairs(far) do call('ZADD', queue, int(NOW + longest), m) end
end

-- The unfinished task and step of an entry, else nil. The second result of nil is true when the record has another version.
local function load_step(m)
  local id, i = parse_member(m)
  local t = i and load_task(id)
  if t and not t.readable then
    report_unreadable(t)
    return nil, t.other_version
  end
  if t and not FINAL[t.state] and step(t, i) then return t, i end
end

local function promote_due(stage)
  local delayed = KEY_OF.delayed[stage]
  clamp_scores(delayed, tonumber(ARGV[12]))
  local found = due_entries(delayed, BATCH)
  for n = 1, #found, 2 do
    call('ZREM', delayed, found[n])
    local t, i = load_step(found[n])
    if t and not is_abandoned(t, i) then
      -- A delayed callback or clean-up does not overtake newer ones: the other side may never answer.
      make_ready(t, i, tonumber(found[n + 1]), is_internal(t) and NOW or nil)
      flush(t)
      promoted = promoted + 1
    elseif i == true then
      add_ready(stage, '', found[n], NOW) -- its owner is in the record
      promoted = promoted + 1
    end
  end
end

-- Ends a lease whose holder was lost: a crash, unless no worker has confirmed the claim. Then nobody has begun, because the
-- answer was lost.
local function end_expired_lease(t, i, poison)
  expired = expired + 1
  local is_crash = not is_unconfirmed(t, i)
  increment(is_crash and 'lease_lost_total' or 'claim_lost_total')
  local crashes = (tonumber(t.live[FIELDS[i].crashes]) or 0) + (is_crash and 1 or 0)
  if is_crash then set(t, FIELDS[i].crashes, int(crashes)) end
  if is_abandoned(t, i) then
    end_lease(t, i, 'cancelled')
    finish_if_idle(t)
  elseif is_crash and crashes >= tonumber(ARGV[4]) then
    poisoned = poisoned + 1
    fail_step(t, i, ARGV[9], poison, ARGV[8])
  else
    end_lease(t, i)
    make_ready(t, i, NOW)
    set_message(t, is_crash and 'The worker was lost; the step starts again.' or MESSAGES.queued)
    add_event(t, i)
  end
  flush(t)
end

local function expire_leases(stage, poison)
  local leases = KEY_OF.leases[stage]
  clamp_scores(leases, 2 * tonumber(ARGV[11]))
  local found = due_entries(leases, BATCH)
  for n = 1, #found, 2 do
    local t, i = load_step(found[n])
    if i == true then
      -- Nobody else can have claimed the step. A program that can read the task finds the lease when it ends again.
      call('ZADD', leases, int(NOW + tonumber(ARGV[11])), found[n])
    else
      call('ZREM', leases, found[n])
      if t then end_expired_lease(t, i, poison) end
    end
  end
end

-- Ends tasks whose cleanup takes too long.
local function end_overdue_cleanups()
  clamp_scores(KEY.cleanup_deadlines, CLEANUP)
  local found = due_entries(KEY.cleanup_deadlines, BATCH)
  for n = 1, #found, 2 do
    local t = load_task(found[n])
    if t and t.other_version then
      note_unreadable(t.id)
      call('ZADD', KEY.cleanup_deadlines, int(NOW + CLEANUP), found[n])
    else
      call('ZREM', KEY.cleanup_deadlines, found[n])
      if t and t.readable and not FINAL[t.state] then
        for i = 0, #t.plan - 1 do
          if has_lease(t, i) then end_lease(t, i, 'cancelled') end
        end
        finish_as_recorded(t)
        flush(t)
      end
    end
  end
end

-- Frees sites that were given to a clean-up which no worker has claimed: none is there.
local function end_unclaimed_grants()
  clamp_scores(KEY.site_cleanup_grants, SITE_CLEANUP_GRANT)
  local found = due_entries(KEY.site_cleanup_grants, BATCH)
  for n = 1, #found, 2 do
    call('ZREM', KEY.site_cleanup_grants, found[n])
    local c = load_task(found[n])
    if c and c.readable and not has_lease(c, 0) then
      dequeue(c, 0)
      delay_step(c, 0, SITE_BUSY_DELAY)
      release_locks(c)
    elseif c and not c.readable then
      report_unreadable(c)
      call('ZADD', KEY.site_cleanup_grants, int(NOW + SITE_CLEANUP_GRANT), found[n])
    end
  end
end

-- Gives up clean-ups of sites that no worker has ended in time.
local function end_overdue_site_cleanups()
end_unclaimed_grants()
  local found = call('ZRANGE', KEY.site_cleanups, '-inf', int(NOW - SITE_CLEANUP_LIFETIME), 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, id in ipairs(found) do
    local c = load_task(id)
    if not c then
      call('ZREM', KEY.site_cleanups, id)
    elseif not c.readable then
      report_unreadable(c)
      call('ZADD', KEY.site_cleanups, NOW_TEXT, id)
    elseif not has_lease(c, 0) then
      finish_site_cleanup(c, 'failed')
    end
  end
end

-- Removes a task from every queue and index; nothing of its record can be trusted.
local function remove_everywhere(id, owner)
  for s = STAGES, #ARGV, 2 do
    for i = 0, 31 do
      local m = id .. ':' .. int(i)
      remove_ready(ARGV[s], owner, m)
      for _, name in ipairs({ 'delayed', 'waiting', 'leases' }) do call('ZREM', KEY_OF[name][ARGV[s]], m) end
    end
  end
end

-- Removes a task from the index, which is of its owner. Returns the owner, or '' when it was in none.
local function unindex_anywhere(id)
  local found = ''
  for _, owner in ipairs(call('SMEMBERS', KEY.owners)) do
    for _, state in ipairs(STATES) do
      if unindex(id, state, owner) then found = owner end
    end
  end
  return found
end

-- Ends tasks whose records are corrupt. Records of another version are left alone.
local function purge_corrupt()
  local found = call('ZRANGE', KEY.quarantine, 0, 9)
  if #found == 10 then more = 1 end
  for _, id in ipairs(found) do
    local t = load_task(id)
    local ends = t and not t.readable and not t.other_version and not FINAL[t.state]
    if ends then t.owner = unindex_anywhere(id) end
    if not (t and (t.readable or t.other_version)) then remove_everywhere(id, t and t.owner or '') end
    if ends then
      -- Keys of a wrong type, and secrets in a corrupt record, are deleted.
      for name, size in pairs({ live = 'HLEN', output = 'HLEN', events = 'LLEN' }) do
        if type(redis.pcall(size, task_key(name, id))) == 'table' then call('DEL', task_key(name, id)) end
      end
      t.body = corrupt_record(t.owner)
      call('SET', task_key('task', id), t.body)
      finish(t, 'failed', ARGV[7], ARGV[5], ARGV[6])
      flush(t)
    end
    call('ZREM', KEY.quarantine, id)
  end
end

-- Forgets tasks that are no longer unreadable, so that their count is true.
local function refresh_unreadable()
  for _, id in ipairs(call('ZRANGE', KEY.unreadable, 0, 9)) do
    local t = load_task(id)
    local is_unreadable = t and (t.other_version or t.live.unreadable == '1')
    if is_unreadable then note_unreadable(id) else call('ZREM', KEY.unreadable, id) end
  end
end

-- Frees locks whose task is gone, and offers free sites to those in line: a part of all sites in each sweep.
local function repair_locks()
  local found = call('HSCAN', KEY.site_locks, call('GET', KEY.site_locks_cursor) or '0', 'COUNT', BATCH)
  if found[1] == '0' then call('DEL', KEY.site_locks_cursor) else call('SET', KEY.site_locks_cursor, found[1]) end
  for n = 1, #found[2], 2 do
    local h, id = found[2][n], found[2][n + 1]
    local is_shared = id == SHARED
    if is_shared and remove_gone_readers(h) or not is_shared and id ~= '' and is_gone(id) then
      call('HSET', KEY.site_locks, h, '')
      id = ''
    end
    if is_shared or id == '' then grant_next(h) end
  end
end

-- Deletes a finished task of an owner, nil when that is not known. One of another record version is kept, and looked at
-- again after the retention time.
local function delete_finished(id, owner)
  local t = load_task(id)
  if t and t.other_version then
    note_unreadable(id)
    call('ZADD', KEY.finished, NOW_TEXT, id)
    if owner then call('ZADD', KEY_OF.finished[owner], NOW_TEXT, id) end
    return
  end
  if t then
    t.owner = owner or t.owner
    unindex(id, t.state, t.owner)
    remove_finished(t)
  end
  for _, name in ipairs({ 'task', 'live', 'output', 'events', 'request_secrets', 'result_secrets' }) do
    call('DEL', task_key(name, id))
  end
  call('ZREM', KEY.finished, id)
  if owner then call('ZREM', KEY_OF.finished[owner], id) end
  call('ZADD', KEY.gone, NOW_TEXT, id)
  trimmed = trimmed + 1
end

local function trim()
  local old = call('ZRANGE', KEY.finished, '-inf', int(NOW - tonumber(ARGV[2])), 'BYSCORE', 'LIMIT', 0, BATCH)
  for _, id in ipairs(old) do delete_finished(id) end
  for _ = 1, BATCH do
    if trimmed >= BATCH or (tonumber(call('GET', KEY.finished_bytes)) or 0) <= tonumber(ARGV[3]) then break end
    -- The owner that has the most loses its oldest.
    local owner = call('ZRANGE', KEY.finished_bytes_by_owner, 0, 0, 'REV')[1]
    if not owner then
      call('DEL', KEY.finished_bytes)
      break
    end
    local id = call('ZRANGE', KEY_OF.finished[owner], 0, 0)[1]
    if id then delete_finished(id, owner) else call('ZREM', KEY.finished_bytes_by_owner, owner) end
  end
  if trimmed >= BATCH then more = 1 end
  if trimmed > 0 then call('ZREMRANGEBYRANK', KEY.gone, 0, -50001) end
  call('ZREMRANGEBYSCORE', KEY.workers, '-inf', int(NOW - tonumber(ARGV[10])))
end

-- Forgets owners without tasks, a few at a time.
local function trim_owners()
  for _, owner in ipairs(call('SRANDMEMBER', KEY.owners, 3)) do
    local left = 0
    for _, state in ipairs(STATES) do left = left + call('EXISTS', index(state, owner)) end
    if left == 0 then call('SREM', KEY.owners, owner) end
  end
end

for s = STAGES, #ARGV, 2 do
  promote_due(ARGV[s])
  expire_leases(ARGV[s], ARGV[s + 1])
end
end_overdue_cleanups()
end_overdue_site_cleanups()
purge_corrupt()
refresh_unreadable()
repair_locks()
trim()
trim_owners()
return { promoted, expired, poisoned, trimmed, more }
