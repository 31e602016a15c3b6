-- Tasks that only read a site share its lock. The first one has it alone while it sets the site up, and shares it then
-- (share_site); those like it, by the key in their records, begin with what it has stored. The last one has the lock alone
-- again, to undo the set-up.

-- What a task has left on a site that others read too, and that the last of them undoes: its registration of that
-- (set_site_cleanup), or '' for nothing.
local function left_for_readers(t, site)
  local registration = call('HGET', task_key('output', t.id), 'cleanup.' .. SHARED_CLEANUP)
  return registration and string.match(registration, REGISTRATION) == site and registration or ''
end

-- Ends the reading of a site by a task, unless it is the only one: then nothing changes. Those in line that may join do so
-- first. The others undo what is left there; this task need not any more. Returns whether it has left.
local function leave_to_others(t, site)
  local h = site_hash(site)
  local readers = site_readers(h)
  if call('SREM', readers, t.id) == 0 then return false end
  grant_next(h)
  if call('EXISTS', readers) == 0 then
    call('SADD', readers, t.id)
    return false
  end
  if left_for_readers(t, site) ~= '' then
    call('HDEL', task_key('output', t.id), 'cleanup.' .. SHARED_CLEANUP)
    forget_installed(t, SHARED_CLEANUP)
  end
  return true
end

-- Nobody joins those that read a site any more: the next in line has it alone, and sets it up anew.
local function close_share(h) call('HSET', site_share(h), 'key', '') end

-- A task that ends leaves the sites that it shares with others. What it was set up with may be why it has failed.
local function leave_shared_sites(t)
  for site in pairs(t.share) do
    local h = site_hash(site)
    if t.ending == 'failed' and call('SISMEMBER', site_readers(h), t.id) == 1 then close_share(h) end
    leave_to_others(t, site)
  end
end

-- The field of `site_share` with the step of a reader that cannot use what is stored and waits until it has the site alone.
local function waiting_field(id) return 'waits:' .. id end

local function waits_until_alone(h, id)
  local i = tonumber(call('HGET', site_share(h), waiting_field(id)) or '')
  local t = i and load_task(id)
  return t and t.readable and t.ending == '' and t.live[FIELDS[i].state] ~= 'succeeded'
end

-- A reader that cannot use what is stored waits until the others have left: nobody joins them. When all of them wait so, each
-- would wait for the others for ever: only the oldest goes on. Returns 'others', or 'stuck' when the task has to end.
local function wait_until_alone(t, i, h)
  close_share(h)
  call('HSET', site_share(h), waiting_field(t.id), int(i))
  local answer = 'others'
  for _, id in ipairs(call('SMEMBERS', site_readers(h))) do
    if not waits_until_alone(h, id) then return 'others' end
    if id < t.id then answer = 'stuck' end
  end
  return answer
end

-- The only reader of a site has its lock alone from now on.
local function hold_alone(t, h)
  call('DEL', site_readers(h), site_share(h))
  call('HSET', KEY.site_locks, h, t.id)
end

-- Removes readers of a site whose tasks are gone. Returns whether the site is nobody's now.
local function remove_gone_readers(h)
  for _, id in ipairs(call('SMEMBERS', site_readers(h))) do
    if is_gone(id) then call('SREM', site_readers(h), id) end
  end
  return end_unread_share(h)
end
