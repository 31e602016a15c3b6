-- Locks of sites. A task holds the locks of all its sites or of none; a clean-up of a site has its lock for an attempt. The
-- hash `site_locks` has the holder of each; '' when nobody holds it and others wait for it.

local SITE_CLEANUP_GRANT = 300000 -- ms that a site is kept for a clean-up that no worker has claimed

-- Whether a waiting task is first in line at all its sites, and none of them is held.
local function can_start(t)
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    local holder = call('HGET', KEY.site_locks, h)
    if (holder and holder ~= '') or call('ZRANGE', task_key('site_queue', h), 0, 0)[1] ~= t.id then return false end
  end
  return true
end

-- Takes all locks of a waiting task and starts it.
local function start_task(t)
  for _, site in ipairs(t.sites) do
    local h = site_hash(site)
    call('HSET', KEY.site_locks, h, t.id)
    call('ZREM', task_key('site_queue', h), t.id)
  end
  for i = 0, #t.plan - 1 do call('ZREM', KEY_OF.waiting[step(t, i)[2]], member(t, i)) end
  set_message(t, MESSAGES.queued)
  start_phase(t, NOW)
  bump_revision(t)
end

-- Takes all locks when nobody holds or waits for any of them, else none.
local function try_lock_all(t)
  for n, site in ipairs(t.sites) do
    if call('HSETNX', KEY.site_locks, site_hash(site), t.id) == 0 then
      for before = 1, n - 1 do call('HDEL', KEY.site_locks, site_hash(t.sites[before])) end
      return false
    end
  end
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
    start_task(t)
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

-- Starts the first task in line at a free site, if it can start, or gives the site to the clean-up that is first. A task of
-- another record version keeps its place: the site waits for it.
local function grant_next(h)
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
        start_task(t)
        flush(t)
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

-- `kept` is a set of sites that stay locked, or nil for none.
function release_locks(t, kept)
  local free
  for _, site in ipairs(t.sites) do
    if not (kept and kept[site]) then
      local h = site_hash(site)
      local waiters = task_key('site_queue', h)
      local held = call('HGET', KEY.site_locks, h) == t.id
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
