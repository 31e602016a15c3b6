-- Reading tasks. record.rs writes and reads the same records.

local STATES = { 'queued', 'running', 'succeeded', 'failed', 'cancelled' }
local FINAL = { succeeded = true, failed = true, cancelled = true }

-- The version of task records, their first word. A record of another version is kept as it is.
local RECORD_VERSION = '1'

-- The lines of a record, none of which has a line break.
local TRACE, CALLBACK, REQUEST, SECRETS = 6, 7, 8, 9
local PLANS, plans = {}, 0

local function line(t, n) return string.sub(t.body, t.ends[n - 1] + 1, t.ends[n] - 1) end
local function has_line(t, n) return t.ends[n] - t.ends[n - 1] > 1 end

-- The entry of step i (from 0): {phase, stage, name, mark, share of the progress}. The mark '?' is an optional step, '!' a
-- cleanup step.
local function step(t, i) return t.plan[i + 1] end

-- A step's entry in the queues, `<id>:<step>`, and back. An id has 36 characters.
local STEP_SUFFIX = {}
for i = 0, 99 do STEP_SUFFIX[i] = ':' .. i end
local function member(t, i) return t.id .. STEP_SUFFIX[i] end
local function parse_member(m) return string.sub(m, 1, 36), tonumber(string.sub(m, 38)) end

local function read_plan(text)
  local plan = PLANS[text]
  if plan then return plan end
  plan = {}
  for part in string.gmatch(text, '[^,]+') do
    local share, phase, mark, stage, name = string.match(part, '^(%d-):?(%d+)([?!]?) (%S+) (.+)$')
    if phase then
      phase = tonumber(phase)
      plan[#plan + 1] = { phase, stage, name, mark, tonumber(share) or 1 }
      if mark == '!' then plan.cleanup_phase = phase end
    end
  end
  if plans >= 200 then PLANS, plans = {}, 0 end
  PLANS[text], plans = plan, plans + 1
  return plan
end

-- The sites of a task, and of those that it only reads the key by which it shares them: `~<key>~<site>`.
local function read_sites(text)
  local sites, share = {}, {}
  for word in string.gmatch(text, '%S+') do
    local key, site = string.match(word, '^~([^~]+)~(.+)$')
    sites[#sites + 1] = site or word
    if site then share[site] = key end
  end
  return sites, share
end

-- The task of a record; nil when the record is corrupt or of another version. `sharing` is what follows the priority:
-- ' shared' when there are other owners, else ''.
local function read_body(id, body)
  local find, sub = string.find, string.sub
  local ends, from = { 0, 0, 0, 0, 0, 0, 0, 0, #body + 1 }, 1
  for n = 1, 8 do
    local found = find(body, '\n', from, true)
    if not found then return nil end
    ends[n] = found
    from = found + 1
  end
  if find(body, '\n', from, true) then return nil end
  local version, created, priority, sharing = string.match(body, '^(%d+) (%d+) (%d+)( ?%l*)\n')
  local plan = version == RECORD_VERSION and read_plan(sub(body, ends[3] + 1, ends[4] - 1))
  if not plan or #plan == 0 then return nil end
  created = tonumber(created)
  local sites, share = read_sites(sub(body, ends[4] + 1, ends[5] - 1))
  return { id = id, body = body, ends = ends, created = created, score = created - 60000 * tonumber(priority),
    sharing = sharing, kind = sub(body, ends[1] + 1, ends[2] - 1), owner = sub(body, ends[2] + 1, ends[3] - 1), plan = plan,
    sites = sites, share = share, readable = true, live = false, state = '', phase = 0, ending = '',
    writes = false }
end

-- The record of a task that has ended because its record was corrupt.
local function corrupt_record(owner) return 'corrupt ' .. owner end

-- What is left of a task whose record cannot be read. `other_version` when another version of the program may be able to
-- read it: it is kept as it is. Otherwise it is corrupt.
local function unreadable(id, body, other_version)
  body = type(body) == 'string' and body or ''
  return { id = id, readable = false, other_version = other_version, owner = string.match(body, '^corrupt (.*)$') or '',
    plan = {}, sites = {}, share = {}, score = 0, kind = '', body = body }
end

local KNOWN_STATE = { queued = true, running = true, succeeded = true, failed = true, cancelled = true }

-- The task; nil when there is none. `readable` is false when its record cannot be read. `t.live` is the hash of what has
-- changed since the task was accepted; Redis has none as long as nothing has.
local function load_task(id)
  local body = redis.pcall('GET', task_key('task', id))
  if not body then return nil end
  local live, flat = {}, redis.pcall('HGETALL', task_key('live', id))
  for n = 1, #flat, 2 do live[flat[n]] = flat[n + 1] end
  local state = live.state or 'queued'
  local t = not body.err and not flat.err and KNOWN_STATE[state] and read_body(id, body)
  if not t then
    local version = type(body) == 'string' and string.match(body, '^(%d+) ')
    t = unreadable(id, body, version and version ~= RECORD_VERSION or not KNOWN_STATE[state])
  end
  t.live = live
  if live.unshared == '1' then t.share = {} end
  if live.score then t.score = tonumber(live.score) end
  t.state, t.phase, t.ending = state, tonumber(live.phase) or 0, live.ending or ''
  return t
end

-- The default message of a state; it is not stored.
local MESSAGES = { queued = 'Waiting for a worker.', running = 'A worker has begun.', succeeded = 'Done.', cancelled = 'Cancelled.' }
local WAITING_FOR_SITE = 'Waiting for another task on the same site.'
local WAITING_TO_READ = 'Waiting for other tasks on the same site, which other clones read.'
local waiting_message -- in sites.lua
local function message(t)
  local stored = t.live.message
  return stored and stored ~= '' and stored or MESSAGES[t.state] or ''
end
local function percent(t) return t.state == 'succeeded' and '100' or t.live.percent or '0' end

-- A readable task as record.rs reads it.
local function snapshot(t)
  local flat = {}
  local new = next(t.live) == nil
  t.live.message, t.live.percent = message(t), percent(t)
  if new and call('ZSCORE', KEY_OF.waiting[step(t, 0)[2]], member(t, 0)) then t.live.message = waiting_message(t) end
  for k, v in pairs(t.live) do
    flat[#flat + 1] = k
    flat[#flat + 1] = v
  end
  local kept = has_line(t, SECRETS) or call('EXISTS', task_key('request_secrets', t.id)) == 1
  return { t.id, t.body, flat, call('HGETALL', task_key('output', t.id)), call('HGETALL', task_key('result_secrets', t.id)), kept and '1' or '0' }
end

-- The index of an owner's tasks in one state, ordered by id, which is by age. Queued tasks may be a million: they are kept
-- in buckets, which Redis stores compactly while they are small; the index has the first id of each bucket.
local INDEX = { queued = 'index:queued', running = 'index:running', succeeded = 'index:succeeded', failed = 'index:failed', cancelled = 'index:cancelled' }
local function index(state, owner) return KEY_OF[INDEX[state]][owner] end
local BUCKET_SIZE = 64 -- most ids of a bucket

local function bucket_of(buckets, id)
  return call('ZRANGE', buckets, '[' .. id, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
end

-- The newest ids of an index before `past` (exclusive; nil for all), newest first, about `n` of them.
local function newest_of(state, owner, past, n)
  local buckets, found = index(state, owner), {}
  local from = past and '(' .. past or '+'
  if state ~= 'queued' then return call('ZRANGE', buckets, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n) end
  -- The first bucket may begin before `past` and have nothing older.
  for _, bucket in ipairs(call('ZRANGE', buckets, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n + 1)) do
    for _, id in ipairs(call('ZRANGE', buckets .. ':' .. bucket, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n - #found)) do
      found[#found + 1] = id
    end
    if #found >= n then break end
  end
  return found
end
