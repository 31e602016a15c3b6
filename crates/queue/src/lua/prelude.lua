-- Shared by every script. KEYS[1] is the queue's hash tag, `{name}`: all other keys are derived from it, so they
-- lie in one slot. Time is Redis' own. A number becomes text only through `int`: tostring keeps but 14 digits.

local P = KEYS[1] .. ':'
local call = redis.call
local CLOCK = call('TIME')
local NOW = CLOCK[1] * 1000 + math.floor(CLOCK[2] / 1000) -- ms
local STATES = { 'queued', 'running', 'succeeded', 'failed', 'cancelled' }
local FINAL = { succeeded = true, failed = true, cancelled = true }
local BATCH = 100 -- what one run does at most of anything

local function int(n) return string.format('%.0f', n) end

local function task_key(id) return P .. 'task:' .. id end

-- By state, and by state and owner: tasks by id, whose order is that of their age.
local function index(state, owner)
  return P .. 'idx:' .. state .. (owner and ':' .. owner or '')
end

-- What a script needs of a task; nil when there is none. `sound` is false when its record cannot be read.
local function load(id)
  local key = task_key(id)
  local f = redis.pcall('HMGET', key, 'state', 'owner', 'score', 'phase', 'plan', 'sites', 'cancel', 'ending',
    'percent', 'message')
  if f.err or not f[1] then return nil end
  local plan_ok, plan = pcall(cjson.decode, f[5])
  local sites_ok, sites = pcall(cjson.decode, f[6])
  local score, phase = tonumber(f[3]), tonumber(f[4])
  local sound = plan_ok and sites_ok and type(plan) == 'table' and #plan > 0 and type(sites) == 'table'
    and score ~= nil and phase ~= nil
  return {
    id = id, key = key, sound = sound, state = f[1], owner = f[2] or '', score = score or 0, phase = phase or 0,
    plan = sound and plan or {}, sites = sound and sites or {}, cancel = f[7] == '1', ending = f[8] or '',
    percent = tonumber(f[9]) or 0, message = f[10] or '',
  }
end
