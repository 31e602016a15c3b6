-- Why steps wait. Shared by the functions that only read.

-- The task that a waiting task waits for at a site, and its owner; nil when it does not wait there.
local function ahead_at(t, site)
  local h = site_hash(site)
  local holder = call('HGET', KEY.site_locks, h) or ''
  if holder == t.id then return nil end
  if holder == '' then
    holder = call('ZRANGE', task_key('site_queue', h), 0, 0)[1] or t.id
    if holder == t.id then return nil end
  elseif #holder ~= 36 then -- several read the site side by side
    holder = call('SRANDMEMBER', task_key('site_readers', h)) or ''
  end
  local ahead = holder ~= '' and load_task(holder)
  if not ahead or is_internal(ahead) then return '', '' end
  return holder, ahead.owner
end

-- Appends why the steps of a task wait: {task, step, stage, 'ready', since ms} | {.., 'delayed', until ms}
-- | {.., 'site', since ms, site, id of the task that has it or '', its owner}
local function append_waits(t, answer)
  for i = 0, #t.plan - 1 do
    local stage, m = step(t, i)[2], member(t, i)
    local function add(why, ms, ...) answer[#answer + 1] = { t.id, step(t, i)[3], stage, why, int(ms), ... } end
    local due = call('ZSCORE', KEY_OF.delayed[stage], m)
    if due then
      add('delayed', tonumber(due))
    elseif call('ZSCORE', KEY_OF.waiting[stage], m) then
      local site, ahead, owner = '', '', ''
      for _, each in ipairs(t.sites) do
        local id, of = ahead_at(t, each)
        if id then
          site, ahead, owner = each, id, of
          break
        end
      end
      add('site', t.created, site, ahead, owner)
    elseif call('ZSCORE', ready_steps(stage, t.owner), m) then
      add('ready', tonumber(t.live[FIELDS[i].ready]) or t.created)
    end
  end
end
