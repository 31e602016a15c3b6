-- Clean-ups of sites: what a task has left on a site when it ends is undone by the queue itself, for a day. While the task runs
-- it registers what it would leave (set_site_cleanup); its end queues what is still registered. A clean-up is queued like a
-- task and not listed. Each attempt takes the site's lock, and gives way to a task that waits for it, until tasks have kept it
-- waiting for too long: then it is first in the site's line, and gives way no more.

local SITE_CLEANUP_LIFETIME = 90000000 -- ms after which nobody tries any more; a worker gives up after a day
local SITE_CLEANUP_FIRST = 60000       -- ms until the first attempt: the task has just tried
local SITE_BUSY_DELAY = 60000          -- ms after which a site that a task has locked is looked at again
local SITE_CLEANUP_PATIENCE = 600000   -- ms for which a clean-up gives way to tasks
local SITE_CLEANUPS = 10000            -- the most clean-ups
local SITE_CLEANUPS_OF_SITE = 5        -- the most clean-ups of a site

-- Stands for no secret in a registration: only the site's owner can undo what is left.
local NO_SECRET = '-'

-- The line REQUEST of a clean-up: the task, the name that it had registered, how the task ended, and a text of its own.
local CLEANUP_OF = '^(%S+) (%S+) (%S+) (.*)$'

local function cleanups_of_site(site) return task_key('site_cleanups', site_hash(site)) end

local function site_cleanup_id(t, name)
  return derived_id(t.id .. ' cleanup ' .. name .. ' ' .. (t.live.replays or '0'))
end

-- A registration (set_site_cleanup).
local REGISTRATION = '^(%S+) (%S+) (.+)$'

-- The sites that the cleanup steps of a task change, as a set: those on which it has left something, and the clone that it
-- makes (SiteKey::of_clone in site.rs).
local function sites_to_clean_up(t)
  local sites = { ['clone:' .. t.id] = true }
  if (t.live.cleanups or '') == '' then return sites end
  local flat = call('HGETALL', task_key('output', t.id))
  for n = 1, #flat, 2 do
    local site = string.find(flat[n], '^cleanup%.') and string.match(flat[n + 1], REGISTRATION)
    if site then sites[site] = true end
  end
  return sites
end

-- Adds a clean-up to the indexes: of all, of its site, and of its owner, for as long as it can exist.
local function index_site_cleanup(id, owner, site)
  local of_owner = KEY_OF.site_cleanups_of_owner[owner]
  call('ZADD', KEY.site_cleanups, NOW_TEXT, id)
  call('ZADD', cleanups_of_site(site), NOW_TEXT, id)
  call('ZADD', of_owner, NOW_TEXT, id)
  call('ZREMRANGEBYSCORE', of_owner, '-inf', int(NOW - 2 * SITE_CLEANUP_LIFETIME))
  call('PEXPIRE', of_owner, int(2 * SITE_CLEANUP_LIFETIME))
  call('ZADD', KEY.site_cleanups_by_owner, call('ZCARD', of_owner), owner)
end

-- Removes a clean-up from the indexes of all and of its owner.
local function unindex_site_cleanup(id, owner)
  local of_owner = KEY_OF.site_cleanups_of_owner[owner]
  call('ZREM', KEY.site_cleanups, id)
  call('ZREM', of_owner, id)
  local left = call('ZCARD', of_owner)
  if left > 0 then
    call('ZADD', KEY.site_cleanups_by_owner, left, owner)
  else
    call('ZREM', KEY.site_cleanups_by_owner, owner)
  end
end

-- Whether tasks have kept a clean-up from its site for longer than it gives way to them.
local function is_overdue(c)
  local since = tonumber(c.live.kept_waiting_since)
  return since ~= nil and NOW - since >= SITE_CLEANUP_PATIENCE
end

-- Notes that a task keeps a clean-up from its site. An attempt that fails by itself ends that.
local function note_kept_waiting(c)
  if (c.live.kept_waiting_since or '') == '' then set(c, 'kept_waiting_since', NOW_TEXT) end
end

-- Takes the site's lock for an attempt. What was left last is undone first: a later task found what an earlier one had left.
-- An overdue clean-up that finds the site locked becomes the first in its line.
local function lock_for_cleanup(c)
  local site = c.sites[1]
  local h, of_site = site_hash(site), cleanups_of_site(site)
  local line_of_site, is_granted = task_key('site_queue', h), call('HGET', KEY.site_locks, h) == c.id
  call('ZREM', KEY.site_cleanup_grants, c.id)
  for _, id in ipairs(call('ZRANGE', of_site, 0, -1, 'REV')) do
    if id == c.id then break end
    local later = load_task(id)
    if later and (later.readable or later.other_version) and not FINAL[later.state] then
      if is_granted or call('ZSCORE', line_of_site, c.id) then release_locks(c) end
      return false
    end
    call('ZREM', of_site, id) -- it is gone, or corrupt
  end
  if is_granted or try_lock_all(c) then return true end
  note_kept_waiting(c)
  if not is_overdue(c) then return false end
  if call('HGET', KEY.site_locks, h) ~= '' then
    call('ZADD', line_of_site, 0, c.id)
    return false
  end
  call('ZREM', line_of_site, c.id)
  call('HSET', KEY.site_locks, h, c.id)
  return true
end

-- Whether a clean-up should stop because a task waits for its site.
local function must_yield(t)
  if not is_site_cleanup(t) or call('EXISTS', task_key('site_queue', site_hash(t.sites[1]))) == 0 then return false end
  note_kept_waiting(t)
  return not is_overdue(t)
end

-- What a task has left on a site, registered under this name, is undone or is another task's now. A replay of it must not take
-- what it finds there for its own.
local function forget_installed(t, name)
  local checkpoint = installed_checkpoint(name)
  if (t.live[checkpoint] or '') ~= '' then set(t, checkpoint, '') end
end

-- Ends a clean-up. Its record is deleted; its task says what is still left. `state` is 'succeeded' or 'failed'.
local function finish_site_cleanup(c, state)
  local task, name = string.match(line(c, REQUEST), CLEANUP_OF)
  dequeue(c, 0)
  call('DEL', task_key('task', c.id), task_key('live', c.id), task_key('output', c.id))
  unindex_site_cleanup(c.id, c.owner)
  call('ZREM', cleanups_of_site(c.sites[1]), c.id)
  call('ZREM', KEY.site_cleanup_grants, c.id)
  c.writes = false
  release_locks(c)
  local done = state == 'succeeded'
  increment(done and 'site_cleanup_done_total' or 'site_cleanup_given_up_total')
  if not done then
    call('LPUSH', KEY.given_up_site_cleanups, int(c.created) .. ' ' .. c.sites[1] .. ' ' .. line(c, REQUEST))
    call('LTRIM', KEY.given_up_site_cleanups, 0, BATCH - 1)
  end
  local t = task and load_task(task)
  if not (t and t.readable) then return end
  if done then forget_installed(t, name) end
  if FINAL[t.state] and site_cleanup_id(t, name) == c.id then
    local output, left = task_key('output', t.id), 'left.' .. name
    if done then
      call('HDEL', output, left)
    else
      call('HSET', output, left, 'given_up ' .. line(c, REQUEST))
    end
    bump_revision(t)
  end
  flush(t)
end

-- Gives up the first clean-up of these that no worker attempts. Entries without one are removed, of the owner's indexes too
-- when it is known. Returns whether anything was done.
local function give_up_first(ids, index, owner)
  for _, id in ipairs(ids) do
    local c = load_task(id)
    if not (c and c.readable) then
      call('ZREM', index, id)
      if owner then unindex_site_cleanup(id, owner) end
      return true
    elseif not has_lease(c, 0) then
      finish_site_cleanup(c, 'failed')
      return true
    end
  end
  return false
end

-- Gives up clean-ups while there are too many: the oldest of the owner that has most; of all when no owner is known.
local function trim_site_cleanups()
  for _ = 1, BATCH do
    if call('ZCARD', KEY.site_cleanups) <= SITE_CLEANUPS then return end
    local owner, index = call('ZRANGE', KEY.site_cleanups_by_owner, 0, 0, 'REV')[1], KEY.site_cleanups
    if owner then index = KEY_OF.site_cleanups_of_owner[owner] end
    local ids = call('ZRANGE', index, 0, BATCH - 1)
    if #ids == 0 then
      call('ZREM', KEY.site_cleanups_by_owner, owner) -- they have expired
    elseif not give_up_first(ids, index, owner) then
      return
    end
  end
end

-- Gives up clean-ups of a site while there are too many: the oldest of the owner that has most of them.
local function trim_cleanups_of_site(site)
  local index = cleanups_of_site(site)
  while call('ZCARD', index) > SITE_CLEANUPS_OF_SITE do
    local of_owner, most = {}, nil
    for _, id in ipairs(call('ZRANGE', index, 0, -1)) do
      local c = load_task(id)
      local owner = c and c.readable and c.owner or ''
      local ids = of_owner[owner] or {}
      of_owner[owner] = ids
      ids[#ids + 1] = id
      if not most or #ids > #most then most = ids end
    end
    if not give_up_first(most, index) then return end
  end
end

-- The sentence of a registration that says what is left.
local function left_sentence(text)
  local is_json, stored = pcall(cjson.decode, text)
  return is_json and type(stored) == 'table' and type(stored.left) == 'string' and stored.left or ''
end

-- Queues what an ending task has left on its sites. `completed`: it has done all of its steps but optional ones. Returns the
-- sites, or nil when there are none; and what only the sites' owners can undo, as sentences, or nil.
local function queue_site_cleanups(t, completed)
  if (t.live.cleanups or '') == '' then return nil end
  local output, sites, manual = task_key('output', t.id), nil, nil
  local flat = call('HGETALL', output)
  for n = 1, #flat, 2 do
    local name = string.match(flat[n], '^cleanup%.(%S+)$')
    local site, sealed, text = string.match(flat[n + 1], REGISTRATION)
    local content = site and table.concat({ t.id, name or '', completed and 'completed' or 'ended', text }, ' ')
    if name and site and sealed == NO_SECRET then
      call('HSET', output, 'left.' .. name, 'manual ' .. content)
      manual = (manual and manual .. ' ' or '') .. left_sentence(text)
    elseif name and site then
      local id = site_cleanup_id(t, name)
      call('SET', task_key('task', id), table.concat({ RECORD_VERSION .. ' ' .. NOW_TEXT .. ' 0', 'site-cleanup', t.owner,
        '0 cleanup clean-up', site, line(t, TRACE), '', content, sealed }, '\n'))
      index_site_cleanup(id, t.owner, site)
      delay_step(load_task(id), 0, SITE_CLEANUP_FIRST)
      call('HSET', output, 'left.' .. name, 'pending ' .. content)
      sites = sites and sites .. ' and ' .. site or site
      trim_cleanups_of_site(site)
    end
    if name then call('HDEL', output, flat[n]) end
  end
  trim_site_cleanups()
  set(t, 'cleanups', '')
  return sites, manual
end
