-- Clean-ups of sites: what a task has left on a site when it ends is undone by the queue itself, for a day. While the task runs
-- it registers what it would leave (set_site_cleanup); its end queues what is still registered. A clean-up is queued like a
-- task and not listed. Each attempt takes the site's lock, and gives way to a task that waits for it.

local SITE_CLEANUP_LIFETIME = 90000000 -- ms after which nobody tries any more; a worker gives up after a day
local SITE_CLEANUP_FIRST = 60000       -- ms until the first attempt: the task has just tried
local SITE_BUSY_DELAY = 60000          -- ms after which a site that a task has locked is looked at again
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

-- Takes the site's lock for an attempt. What was left last is undone first: a later task found what an earlier one had left.
local function lock_for_cleanup(c)
  local of_site = cleanups_of_site(c.sites[1])
  for _, id in ipairs(call('ZRANGE', of_site, 0, -1, 'REV')) do
    if id == c.id then break end
    local later = load_task(id)
    if later and (later.readable or later.other_version) and not FINAL[later.state] then return false end
    call('ZREM', of_site, id) -- it is gone, or corrupt
  end
  return try_lock_all(c)
end

-- Whether a clean-up should stop because a task waits for its site.
local function must_yield(t)
  return is_site_cleanup(t) and call('EXISTS', task_key('site_queue', site_hash(t.sites[1]))) == 1
end

-- Ends a clean-up. Its record is deleted; its task says what is still left. `state` is 'succeeded' or 'failed'.
local function finish_site_cleanup(c, state)
  local task, name = string.match(line(c, REQUEST), CLEANUP_OF)
  dequeue(c, 0)
  call('DEL', task_key('task', c.id), task_key('live', c.id), task_key('output', c.id))
  call('ZREM', KEY.site_cleanups, c.id)
  call('ZREM', cleanups_of_site(c.sites[1]), c.id)
  c.writes = false
  release_locks(c)
  local done = state == 'succeeded'
  increment(done and 'site_cleanup_done_total' or 'site_cleanup_given_up_total')
  if not done then
    call('LPUSH', KEY.given_up_site_cleanups, int(c.created) .. ' ' .. c.sites[1] .. ' ' .. line(c, REQUEST))
    call('LTRIM', KEY.given_up_site_cleanups, 0, BATCH - 1)
  end
  local t = task and load_task(task)
  if not (t and t.readable and FINAL[t.state] and site_cleanup_id(t, name) == c.id) then return end
  local output, left = task_key('output', t.id), 'left.' .. name
  if done then
    call('HDEL', output, left)
  else
    call('HSET', output, left, 'given_up ' .. line(c, REQUEST))
  end
  bump_revision(t)
  flush(t)
end

-- Gives up the oldest clean-ups of a zset while it has more than `most`.
local function trim_site_cleanups(all, most)
  for _ = 1, BATCH do
    if call('ZCARD', all) <= most then return end
    local id = call('ZRANGE', all, 0, 0)[1]
    local c = load_task(id)
    call('ZREM', all, id)
    if c and c.readable and not has_lease(c, 0) then finish_site_cleanup(c, 'failed') end
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
      call('ZADD', KEY.site_cleanups, NOW_TEXT, id)
      call('ZADD', cleanups_of_site(site), NOW_TEXT, id)
      delay_step(load_task(id), 0, SITE_CLEANUP_FIRST)
      call('HSET', output, 'left.' .. name, 'pending ' .. content)
      sites = sites and sites .. ' and ' .. site or site
      trim_site_cleanups(cleanups_of_site(site), SITE_CLEANUPS_OF_SITE)
    end
    if name then call('HDEL', output, flat[n]) end
  end
  trim_site_cleanups(KEY.site_cleanups, SITE_CLEANUPS)
  set(t, 'cleanups', '')
  return sites, manual
end
