-- Locks of sites. A task holds the locks of all its sites or of none; a clean-up of a site has its lock for an attempt. The
-- hash `site_locks` has the holder of each; '' when nobody holds it and others wait for it, SHARED when tasks read it side by
-- side (sharing.lua): these are in the set `site_readers`, and the hash `site_share` says who may join them.

local SITE_CLEANUP_GRANT = 300000 -- ms that a site is kept for a clean-up that no worker has claimed
local SHARED = '~'                -- the holder of a site that tasks share: no task's id
local SHARE_LIFETIME = 600000     -- ms for which more tasks may join those that read a site

local function site_readers(h) return task_key('site_readers', h) end
local function site_share(h) return task_key('site_share', h) end

-- Whether a task may join those that read a site now.
local function can_join(t, site, h)
  local key = t.share[site]
  if not key or call('HGET', KEY.site_locks, h) ~= SHARED then return false end
  local share = call('HMGET', site_share(h), 'key', 'since', 'limit')
  if share[1] ~= key then return false end
  local age = NOW - tonumber(share[2])
  return age >= 0 and age < SHARE_LIFETIME and call('SCARD', site_readers(h)) < tonumber(share[3])
end

-- A task joins those that read a site. What they have left there is its duty as well from now on: the last one undoes it
-- (leave_to_others in sharing.lua).
local function join_readers(t, h)
  call('SADD', site_readers(h), t.id)
  local left = call('HGET', site_share(h), 'left')
  if left == '' then return end
  call('HSET', task_key('output', t.id), 'cleanup.' .. SHARED_CLEANUP, left)
  set(t, 'cleanups', '1')
  set(t, installed_checkpoint(SHARED_CLEANUP), 'installed')
end

-- Whether a waiting task is first in line at all its sites, and can have the lock of each.
local function can_start(t)
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    if call('ZRANGE', task_key('site_queue', h), 0, 0)[1] ~= t.id then return false end
    local holder = call('HGET', KEY.site_locks, h)
    if holder and holder ~= '' and not can_join(t, site, h) then return false end
  end
  return true
end

local grant_next

-- Takes all locks of a waiting task and starts it. Returns the sites that it shares: the next in line may join as well.
local function start_task(t)
  local shared = {}
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    if call('HGET', KEY.site_locks, h) == SHARED then
      join_readers(t, h)
      shared[#shared + 1] = h
    else
      call('HSET', KEY.site_locks, h, t.id)
    end
    call('ZREM', task_key('site_queue', h), t.id)
  end
  for i = 0, #t.plan - 1 do call('ZREM', KEY_OF.waiting[step(t, i)[2]], member(t, i)) end
  set_message(t, MESSAGES.queued)
  start_phase(t, NOW)
  bump_revision(t)
  return shared
end

-- Takes all locks when nobody waits for any of them and each can be had, else none.
local function try_lock_all(t)
  local shared
  for n, site in ipairs(t.sites) do
    local h = site_hash(site)
    if call('HSETNX', KEY.site_locks, h, t.id) == 0 then
      if not can_join(t, site, h) or call('EXISTS', task_key('site_queue', h)) == 1 then
        for before = 1, n - 1 do
          local taken = site_hash(t.sites[before])
          if call('HGET', KEY.site_locks, taken) == t.id then call('HDEL', KEY.site_locks, taken) end
        end
        return false
      end
      shared = shared or {}
      shared[#shared + 1] = h
    end
  end
  for _, h in ipairs(shared or {}) do join_readers(t, h) end
  return true
end

-- Starts an accepted task, or lets it wait for its sites. Returns whether it has started.
local function start_or_wait(t, since)
  if try_lock_all(t) then
    start_phase(t, since)
    return true
  end
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    call('ZADD', task_key('site_queue', h), int(t.score), t.id)
    call('HSETNX', KEY.site_locks, h, '')
  end
  if can_start(t) then
    for _, h in ipairs(start_task(t)) do grant_next(h) end
    return true
  end
  for i = 0, #t.plan - 1 do
    if step(t, i)[1] == t.phase then call('ZADD', KEY_OF.waiting[step(t, i)[2]], int(t.score), member(t, i)) end
  end
  return false
end

-- Gives the lock of a free site to a clean-up that is first in line. A worker has to claim it in time (end_unclaimed_grants).
local function grant_to_cleanup(c, h)
  if call('HGET', KEY.site_locks, h) ~= '' then return end
  call('HSET', KEY.site_locks, h, c.id)
  call('ZREM', task_key('site_queue', h), c.id)
  call('ZADD', KEY.site_cleanup_grants, int(NOW + SITE_CLEANUP_GRANT), c.id)
  dequeue(c, 0)
  make_ready(c, 0, NOW, c.score - FRONT_OFFSET_MS)
end

-- Starts the first tasks in line at a site that can start, or gives the site to the clean-up that is first. A task of another
-- record version keeps its place: the site waits for it.
function grant_next(h)
  for _ = 1, BATCH do
    local id = call('ZRANGE', task_key('site_queue', h), 0, 0)[1]
    if not id then
      if call('HGET', KEY.site_locks, h) == '' then call('HDEL', KEY.site_locks, h) end
      return
    end
    local t = load_task(id)
    if t and t.readable and is_site_cleanup(t) then
      grant_to_cleanup(t, h)
      flush(t)
      return
    end
    if t and t.readable and t.state == 'queued' then
      if can_start(t) then
        local shared = start_task(t)
        flush(t)
        for _, of in ipairs(shared) do grant_next(of) end -- at most as many as may share a site
      end
      return
    end
    if t and not t.readable then
      report_unreadable(t)
      if t.other_version then return end
    end
    call('ZREM', task_key('site_queue', h), id)
  end
end

-- Forgets what is shared of a site that nobody reads any more. Returns whether nobody does.
local function end_unread_share(h)
  if call('EXISTS', site_readers(h)) == 1 then return false end
  call('DEL', site_share(h))
  return true
end

-- Ends the reading of a site by a task, if it does. Returns whether the site is nobody's now.
local function stop_reading(id, h) return call('SREM', site_readers(h), id) == 1 and end_unread_share(h) end

-- `kept` is a set of sites that stay locked, or nil for none.
function release_locks(t, kept)
  local free
  for _, site in ipairs(t.sites) do
    if not (kept and kept[site]) then
      local h = site_hash(site)
      local waiters = task_key('site_queue', h)
      local holder = call('HGET', KEY.site_locks, h)
      local held = holder == t.id or holder == SHARED and stop_reading(t.id, h)
      if not held then call('ZREM', waiters, t.id) end -- it waited, or does not need the site any more
      if call('EXISTS', waiters) == 1 then
        if held then call('HSET', KEY.site_locks, h, '') end
        free = free or {}
        free[#free + 1] = h
      elseif held then
        call('HDEL', KEY.site_locks, h)
      end
    end
  end
  if not free then return end
  for _, h in ipairs(free) do grant_next(h) end
end

-- Why a task that waits for its sites does not start.
function waiting_message(t)
  for _, site in ipairs(t.sites) do
    local key = t.share[site]
    if key and call('HGET', site_share(site_hash(site)), 'key') == key then return WAITING_TO_READ end
  end
  return WAITING_FOR_SITE
end
