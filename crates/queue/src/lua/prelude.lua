-- Shared by every function. The first key is the queue's hash tag, `{name}`: all other keys are derived from it, so they
-- lie in one slot. Time is Redis' own. What a script costs is mostly strings: those that recur are kept from call to
-- call, and a number becomes text through `int`, which is exact (tostring keeps but 14 digits) and cheap.

local P, ARGV, call, CLOCK, NOW, NOW_TEXT
local K      -- K.name is the key `name`, Z.name[of] the key `name:of`; both are kept
local Z
local FIELDS -- FIELDS[i].name is a step's field, as in `0.name`
local KNOWN, known = nil, 0

-- A table that makes what it does not have yet.
local function made_by(make)
  return setmetatable({}, { __index = function(all, name)
    known = known + 1
    local made = make(name)
    all[name] = made
    return made
  end })
end

local function keys_of(prefix)
  local plain = made_by(function(name) return prefix .. name end)
  local groups = made_by(function(name)
    return made_by(function(of) return prefix .. name .. ':' .. of end)
  end)
  return { plain = plain, groups = groups }
end

-- Begins a call.
local function begin(keys, args)
  P, ARGV, call = keys[1] .. ':', args, redis.call
  CLOCK = call('TIME')
  NOW_TEXT = CLOCK[1] .. string.sub('000000' .. CLOCK[2], -6, -4)
  NOW = tonumber(NOW_TEXT) -- ms
  if not KNOWN or known > 5000 then
    KNOWN, known = made_by(keys_of), 0
    FIELDS = made_by(function(i)
      local number = string.format('%d', i)
      return made_by(function(name) return number .. '.' .. name end)
    end)
  end
  K, Z = KNOWN[P].plain, KNOWN[P].groups
end

local STATES = { 'queued', 'running', 'succeeded', 'failed', 'cancelled' }
local FINAL = { succeeded = true, failed = true, cancelled = true }
local BATCH = 100 -- what one run does at most of anything

local function int(n) return string.format('%d', n) end

-- The key `name:of` as Z has it, but not kept: for those of one task, which would crowd out the ones that recur.
local function key(name, of) return P .. name .. ':' .. of end

-- Tasks of one owner in one state, by id, whose order is that of their age. Those that are queued may be a million:
-- they stand in leaves, which Redis packs as long as they are small, and the index names each leaf's first id.
local INDEX = { queued = 'idx:queued', running = 'idx:running', succeeded = 'idx:succeeded', failed = 'idx:failed', cancelled = 'idx:cancelled' }
local function index(state, owner) return Z[INDEX[state]][owner] end
local LEAF = 64

local function leaf_of(leaves, id)
  return call('ZRANGE', leaves, '[' .. id, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
end

-- The newest ids of an index before `past` (exclusive; nil for all), newest first; some `n` of them.
local function newest_of(state, owner, past, n)
  local leaves, found = index(state, owner), {}
  local from = past and '(' .. past or '+'
  if state ~= 'queued' then return call('ZRANGE', leaves, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n) end
  -- The first leaf may begin before `past` and have nothing older.
  for _, leaf in ipairs(call('ZRANGE', leaves, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n + 1)) do
    for _, id in ipairs(call('ZRANGE', leaves .. ':' .. leaf, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n - #found)) do
      found[#found + 1] = id
    end
    if #found >= n then break end
  end
  return found
end

local function step(t, i) return t.plan[i + 1] end

-- How a step stands in the queues: `<id>:<step>`; and back. An id has 36 characters.
local NUMBERS = {}
for i = 0, 99 do NUMBERS[i] = ':' .. i end
local function member(t, i) return t.id .. NUMBERS[i] end
local function of_member(m) return string.sub(m, 1, 36), tonumber(string.sub(m, 38)) end

-- What was said of a task when it was accepted: lines, none of which has a line break. Rust writes and reads them as
-- well (record.rs). Nil when they cannot be read.
local TRACE, CALLBACK, REQUEST, SECRETS = 6, 7, 8, 9
local PLANS, plans = {}, 0

local function line(t, n) return string.sub(t.body, t.ends[n - 1] + 1, t.ends[n] - 1) end
local function has_line(t, n) return t.ends[n] - t.ends[n - 1] > 1 end

local function read_plan(text)
  local plan = PLANS[text]
  if plan then return plan end
  plan = {}
  for part in string.gmatch(text, '[^,]+') do
    local share, phase, mark, stage, name = string.match(part, '^(%d-):?(%d+)([?!]?) (%S+) (.+)$')
    if phase then
      phase = tonumber(phase)
      plan[#plan + 1] = { phase, stage, name, mark, tonumber(share) or 1 }
      if mark == '!' then plan.clean_up = phase end
    end
  end
  if plans >= 200 then PLANS, plans = {}, 0 end
  PLANS[text], plans = plan, plans + 1
  return plan
end

local function read_sites(text)
  if text == '' then return {} end
  if not string.find(text, ' ', 1, true) then return { text } end
  local sites = {}
  for site in string.gmatch(text, '%S+') do sites[#sites + 1] = site end
  return sites
end

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
  local created, priority = string.match(body, '^1 (%d+) (%d+)\n')
  local plan = created and read_plan(sub(body, ends[3] + 1, ends[4] - 1))
  if not plan or #plan == 0 then return nil end
  created = tonumber(created)
  return { id = id, body = body, ends = ends, created = created, score = created - 60000 * tonumber(priority),
    kind = sub(body, ends[1] + 1, ends[2] - 1), owner = sub(body, ends[2] + 1, ends[3] - 1), plan = plan,
    sites = read_sites(sub(body, ends[4] + 1, ends[5] - 1)), sound = true, live = false, state = '', phase = 0, ending = '',
    put = false }
end

-- The whole task; nil when there is none. `sound` is false when its record cannot be read. `t.live` is what has
-- changed since it was accepted; it is absent in Redis until something does.
local function load(id)
  local body = redis.pcall('GET', key('task', id))
  if not body then return nil end
  local live, flat = {}, redis.pcall('HGETALL', key('live', id))
  local t = not body.err and not flat.err and read_body(id, body)
  if not t then
    t = { id = id, sound = false, owner = '', plan = {}, sites = {}, score = 0, kind = '', body = '' }
    if type(body) == 'string' then t.body = body end
  end
  for n = 1, #flat, 2 do live[flat[n]] = flat[n + 1] end
  t.live = live
  if live.score then t.score = tonumber(live.score) end
  t.state, t.phase, t.ending = live.state or 'queued', tonumber(live.phase) or 0, live.ending or ''
  return t
end

-- What a person reads of a task when nothing else was said: it is not stored.
local MESSAGES = { queued = 'Waiting for a worker.', running = 'A worker has begun.', succeeded = 'Done.', cancelled = 'Cancelled.' }
local function message(t)
  local said = t.live.message
  return said and said ~= '' and said or MESSAGES[t.state] or ''
end
local function percent(t) return t.state == 'succeeded' and '100' or t.live.percent or '0' end

-- What a reader is told of a task: see record.rs.
local function told(t)
  local flat = {}
  local new = next(t.live) == nil
  t.live.message, t.live.percent = message(t), percent(t)
  if new and t.sound and call('ZSCORE', Z.waiting[step(t, 0)[2]], member(t, 0)) then
    t.live.message = 'Waiting for another task on the same site.'
  end
  for k, v in pairs(t.live) do
    flat[#flat + 1] = k
    flat[#flat + 1] = v
  end
  local kept = t.sound and has_line(t, SECRETS) or call('EXISTS', key('secret', t.id)) == 1
  return { t.id, t.body, flat, call('HGETALL', key('out', t.id)), call('HGETALL', key('rsecret', t.id)), kept and '1' or '0' }
end
