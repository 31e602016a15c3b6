-- Why steps wait. Shared by the functions that only read.

-- A task that another one waits for, and its owner; '' for one that nobody is told of.
local function with_owner(id)
  local ahead = id and load_task(id)
  if not ahead or is_internal(ahead) then return '', '' end
  return id, ahead.owner
end

-- The oldest of those that read a site, without this task; nil for none.
local function oldest_reader(t, h)
  local oldest
  for _, id in ipairs(call('SMEMBERS', site_readers(h))) do
    if id ~= t.id and (not oldest or id < oldest) then oldest = id end
  end
  return oldest
end

-- The task that a waiting task waits for at a site, and its owner; nil when it does not wait there.
local function ahead_at(t, site)
  local h = site_hash(site)
  local holder = call('HGET', KEY.site_locks, h) or ''
  if holder == '' or holder == SHARED then
    local first = call('ZRANGE', task_key('site_queue', h), 0, 0)[1] or t.id
    if first ~= t.id then
      holder = first
    elseif holder == '' or can_join(t, site, h) then
      return nil
    else
      holder = oldest_reader(t, h)
    end
  end
  if holder == t.id then return nil end
  return with_owner(holder)
end

-- The site of which a step is put off until its task has it alone; nil for none.
local function put_off_at(t, i)
  for site in pairs(t.share) do
    if call('HGET', site_share(site_hash(site)), waiting_field(t.id)) == int(i) then return site end
  end
end

-- The site at which a waiting task waits, the id of the task ahead there, and its owner; '' for what is not known.
local function waits_at(t)
  for _, site in ipairs(t.sites) do
    local id, owner = ahead_at(t, site)
    if id then return site, id, owner end
  end
  return '', '', ''
end

-- Appends why the steps of a task wait: {task, step, stage, 'ready', since ms} | {.., 'delayed', until ms}
-- | {.., 'site', since ms, site, id of the task that has it or '', its owner}
local function append_waits(t, answer)
  local at
  for i = 0, #t.plan - 1 do
    local stage, m = step(t, i)[2], member(t, i)
    local function add(why, ms, ...) answer[#answer + 1] = { t.id, step(t, i)[3], stage, why, int(ms), ... } end
    local due = call('ZSCORE', KEY_OF.delayed[stage], m)
    local put_off = due and put_off_at(t, i)
    if put_off then
      add('site', t.created, put_off, with_owner(oldest_reader(t, site_hash(put_off))))
    elseif due then
      add('delayed', tonumber(due))
    elseif call('ZSCORE', KEY_OF.waiting[stage], m) then
      at = at or { waits_at(t) }
      add('site', t.created, unpack(at))
    elseif call('ZSCORE', ready_steps(stage, t.owner), m) then
      add('ready', tonumber(t.live[FIELDS[i].ready]) or t.created)
    end
  end
end
