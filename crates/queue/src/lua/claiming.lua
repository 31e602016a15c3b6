-- Claiming a step; shared by claim and complete. A worker that did not get the answer to a claim asks again with the same
-- nonce, and gets the same lease.

-- Appends the outputs of earlier steps: pairs of `<step>.result` or `<step>.sealed` and the text.
local function append_outputs(t, answer)
  for part, name in pairs({ result = 'output', sealed = 'result_secrets' }) do
    local flat = call('HGETALL', task_key(name, t.id))
    for n = 1, #flat, 2 do
      local i = string.match(flat[n], part == 'result' and '^(%d+)%.result$' or '^%d+$')
      if i then
        answer[#answer + 1] = FIELDS[tonumber(i)][part]
        answer[#answer + 1] = flat[n + 1]
      end
    end
  end
end

-- Appends checkpoints: pairs of `checkpoint.<name>` and the value.
local function append_checkpoints(t, answer)
  for name, value in pairs(t.live) do
    if value ~= '' and string.find(name, '^checkpoint%.') then
      answer[#answer + 1] = name
      answer[#answer + 1] = value
    end
  end
end

-- Appends the sealed session that an earlier attempt at the step has kept (Queue::keep_session).
local function append_kept_session(t, i, answer)
  if (t.live.cleanups or '') == '' then return end
  local kept = call('HGET', task_key('output', t.id), 'cleanup.session.' .. int(i))
  local _, sealed = string.match(kept or '', REGISTRATION)
  if sealed and sealed ~= NO_SECRET then
    answer[#answer + 1] = 'session.sealed'
    answer[#answer + 1] = sealed
  end
end

-- Appends what the first of the tasks that read a site has stored for the others.
local function append_share(t, answer)
  if t.phase ~= 0 then return end
  for site in pairs(t.share) do
    local h = site_hash(site)
    local value = call('SISMEMBER', site_readers(h), t.id) == 1 and call('HGET', site_share(h), 'value')
    if value then
      answer[#answer + 1] = 'share.value'
      answer[#answer + 1] = value
    end
  end
end

-- What a claim returns of a step that is leased.
local function claim_answer(t, i)
  local live = t.live
  local waited = NOW - (tonumber(live[FIELDS[i].ready]) or t.created)
  local answer = { 'claimed', t.id, i, live[FIELDS[i].token], math.max(0, waited), live[FIELDS[i].attempts] or '0',
    live[FIELDS[i].crashes] or '0', t.body, live.replays or '0' }
  if #t.plan > 1 then append_outputs(t, answer) end
  append_checkpoints(t, answer)
  append_kept_session(t, i, answer)
  append_share(t, answer)
  if is_site_cleanup(t) then answer[#answer + 1] = live.superseded or '' end
  return answer
end

-- `nonce` marks the lease as unconfirmed until its holder writes: the answer may never have reached a worker.
local function claim_step(t, i, lease, nonce)
  local stage = step(t, i)[2]
  local token = REDIS_TIME[1] .. string.sub('000000' .. REDIS_TIME[2], -6) -- µs
  local last = call('SET', KEY.fencing_token, token, 'GET')
  if last and last >= token then -- both have 16 digits
    token = int(tonumber(last) + 1)
    call('SET', KEY.fencing_token, token)
  end
  local live = t.live
  local best = math.max(tonumber(live[FIELDS[i].best_percent]) or 0, tonumber(live[FIELDS[i].percent]) or 0)
  set(t, FIELDS[i].token, token)
  set(t, FIELDS[i].nonce, nonce)
  if best > 0 then
    set(t, FIELDS[i].best_percent, best)
    set(t, FIELDS[i].percent, '0')
  end
  if (live[FIELDS[i].started] or '') == '' then set(t, FIELDS[i].started, NOW_TEXT) end
  clear_unreadable(t)
  call('ZADD', KEY_OF.leases[stage], int(NOW + tonumber(lease)), member(t, i))
  if t.state == 'queued' then set_state(t, 'running') end
  set_message(t, MESSAGES.running)
  add_event(t, i)
  flush(t)
  return claim_answer(t, i)
end

-- The answer to a claim that was executed before and whose answer was lost: the same lease, for its full duration again. Nil
-- when there is no such lease. A batch of the newest leases is examined: the lost one was made moments ago. One that is not
-- found expires, which is no crash.
local function repeat_claim(lease, nonce, first)
  for n = first, #ARGV do
    local leases = KEY_OF.leases[ARGV[n]]
    for _, m in ipairs(call('ZRANGE', leases, '+inf', '(' .. NOW_TEXT, 'BYSCORE', 'REV', 'LIMIT', 0, BATCH)) do
      local id, i = parse_member(m)
      if i and redis.pcall('HGET', task_key('live', id), FIELDS[i].nonce) == nonce then
        local t = load_task(id)
        if t and t.readable and step(t, i) and has_lease(t, i) then
          call('ZADD', leases, int(NOW + tonumber(lease)), m)
          return claim_answer(t, i)
        end
      end
    end
  end
end

-- The owner whose turn it is in a stage, and whether no other has a ready step. An owner that is passed over keeps its turn.
local function next_owner(stage, passed_over)
  local turns = call('ZRANGE', KEY_OF.ready[stage], 0, 1)
  if turns[1] == passed_over and passed_over ~= '' then return turns[2], false end
  return turns[1], turns[2] == nil
end

-- Removes and returns an owner's first ready step.
local function pop_step(stage, owner, is_alone)
  local steps = ready_steps(stage, owner)
  local found = call('ZPOPMIN', steps)[1]
  if call('EXISTS', steps) == 0 then
    call('ZREM', KEY_OF.ready[stage], owner)
  elseif not is_alone then
    move_to_last_turn(stage, owner)
  end
  return found or ''
end

-- Removes and returns a ready step of the owner whose turn it is, and its stage; of several stages that with the first such
-- step. ARGV[first] and all after it are stages.
local function pop_first(passed_over, first)
  if #ARGV == first then
    local stage = ARGV[first]
    local owner, is_alone = next_owner(stage, passed_over)
    return owner and pop_step(stage, owner, is_alone), stage
  end
  local stage, owner, is_alone, lowest
  for n = first, #ARGV do
    local found, alone = next_owner(ARGV[n], passed_over)
    local score = found and tonumber(call('ZRANGE', ready_steps(ARGV[n], found), 0, 0, 'WITHSCORES')[2] or '0')
    if score and (not lowest or score < lowest) then stage, owner, is_alone, lowest = ARGV[n], found, alone, score end
  end
  return owner and pop_step(stage, owner, is_alone), stage
end

-- Whether a claim may lease this step.
local function is_claimable(t, i, stage)
  if FINAL[t.state] or not step(t, i) or step(t, i)[2] ~= stage then return false end
  return not (is_abandoned(t, i) or has_lease(t, i) or FINAL[t.live[FIELDS[i].state]])
end

-- `passed_over` is an owner whose steps are not claimed, or ''. Returns {'none'} | {'again'} (a batch of unusable entries was
-- skipped) | {'claimed', ...}
local function claim(lease, nonce, passed_over, first)
  for _ = 1, BATCH do
    local found, stage = pop_first(passed_over, first)
    if not found then return { 'none' } end
    local id, i = parse_member(found)
    local t = i and load_task(id)
    if t and not t.readable then
      report_unreadable(t)
      -- A program of its version may be running beside this one.
      if t.other_version then call('ZADD', KEY_OF.delayed[stage], int(NOW + UNREADABLE_RETRY), found) end
    elseif t and is_claimable(t, i, stage) then
      if not is_site_cleanup(t) or lock_for_cleanup(t) then return claim_step(t, i, lease, nonce) end
      delay_step(t, i, SITE_BUSY_DELAY)
      flush(t)
    end
  end
  return { 'again' }
end
