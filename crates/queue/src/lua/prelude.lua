-- Shared by every function. The one key is the queue's hash tag, `{name}`: all other keys are derived from it, so they
-- lie in one slot. Time is Redis' own. A number becomes text only through `int`: tostring keeps but 14 digits.

local P, ARGV, call, CLOCK, NOW

-- Begins a call.
local function begin(keys, args)
  P, ARGV, call = keys[1] .. ':', args, redis.call
  CLOCK = call('TIME')
  NOW = CLOCK[1] * 1000 + math.floor(CLOCK[2] / 1000) -- ms
end

local STATES = { 'queued', 'running', 'succeeded', 'failed', 'cancelled' }
local FINAL = { succeeded = true, failed = true, cancelled = true }
local BATCH = 100 -- what one run does at most of anything

local function int(n) return string.format('%.0f', n) end

local function task_key(id) return P .. 'task:' .. id end
local function live_key(id) return P .. 'live:' .. id end

-- Tasks of one owner in one state, by id, whose order is that of their age. Those that are queued may be a million:
-- they stand in leaves, which Redis packs as long as they are small, and the index names each leaf's first id.
local function index(state, owner) return P .. 'idx:' .. state .. ':' .. owner end
local LEAF = 120

local function leaf_of(key, id)
  return call('ZRANGE', key, '[' .. id, '-', 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
end

-- The newest ids of an index before `past` (exclusive; nil for all), newest first; some `n` of them.
local function newest_of(state, owner, past, n)
  local key, found = index(state, owner), {}
  local from = past and '(' .. past or '+'
  if state ~= 'queued' then return call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n) end
  for _, leaf in ipairs(call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n)) do
    for _, id in ipairs(call('ZRANGE', key .. ':' .. leaf, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n - #found)) do
      found[#found + 1] = id
    end
    if #found >= n then break end
  end
  return found
end

local function step(t, i) return t.plan[i + 1] end
local function member(t, i) return t.id .. ':' .. int(i) end
local function field(i, name) return int(i) .. '.' .. name end
local function zset(name, stage) return P .. name .. ':' .. stage end

-- What was said of a task when it was accepted: lines, none of which has a line break. Rust writes and reads them as
-- well (record.rs). Nil when they cannot be read.
local LINE = '([^\n]*)\n'
local BODY = '^1 (%d+) (%d+)\n' .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. LINE .. '([^\n]*)$'

local function read_body(id, text)
  local created, priority, kind, owner, plan_text, sites_text, trace, callback, request, secrets = string.match(text, BODY)
  if not created then return nil end
  local t = { id = id, created = tonumber(created), worth = 60000 * tonumber(priority), kind = kind, owner = owner,
    trace = trace, callback = callback, request = request, secrets = secrets }
  t.score = t.created - t.worth
  local plan, sites = {}, {}
  for phase, stage, name in string.gmatch(plan_text, '(%d+) (%S+) ([^,]+)') do
    plan[#plan + 1] = { tonumber(phase), stage, name }
  end
  for site in string.gmatch(sites_text, '%S+') do sites[#sites + 1] = site end
  t.plan, t.sites = plan, sites
  return #plan > 0 and t or nil
end

-- The whole task; nil when there is none. `sound` is false when its record cannot be read. `t.live` is what has
-- changed since it was accepted; it is absent in Redis until something does.
local function load(id)
  local body = redis.pcall('GET', task_key(id))
  if not body then return nil end
  local live, flat = {}, redis.pcall('HGETALL', live_key(id))
  local t = not body.err and not flat.err and read_body(id, body)
  if t then t.sound = true else t = { id = id, sound = false, owner = '', plan = {}, sites = {}, score = 0, kind = '' } end
  for n = 1, #flat, 2 do live[flat[n]] = flat[n + 1] end
  t.live, t.new, t.body = live, #flat == 0, type(body) == 'string' and body or ''
  if live.score then t.score = tonumber(live.score) end
  t.state, t.phase, t.ending = live.state or 'queued', tonumber(live.phase) or 0, live.ending or ''
  return t
end

-- What a reader is told of a task: see record.rs.
local function told(t)
  local flat = {}
  if t.new then
    local waits = t.sound and call('ZSCORE', zset('waiting', step(t, 0)[2]), member(t, 0))
    t.live.message = waits and 'Waiting for another task on the same site.' or 'Waiting for a worker.'
  end
  for k, v in pairs(t.live) do
    flat[#flat + 1] = k
    flat[#flat + 1] = v
  end
  local kept = t.secrets ~= '' or call('EXISTS', P .. 'secret:' .. t.id) == 1
  return { t.id, t.body, flat, call('HGETALL', P .. 'out:' .. t.id), call('GET', P .. 'rsecret:' .. t.id) or '', kept and '1' or '0' }
end
