-- Shared by every function: keys, the clock, and the check of the layout. The first key of a call is the queue's hash tag,
-- `{name}`; all other keys are derived from it, so they lie in one slot. The clock is Redis' own. Most of a function's cost
-- is making strings: recurring ones are cached between calls, and numbers become text by `int`, which is exact (tostring
-- keeps only 14 digits) and cheap.

local PREFIX, ARGV, call, REDIS_TIME, NOW, NOW_TEXT
local KEY    -- KEY.name is the key `name`; cached
local KEY_OF -- KEY_OF.name[of] is the key `name:of`; cached
local FIELDS -- FIELDS[i].name is a field of step i, as in `0.name`; cached
local CACHE, cached = nil, 0

-- A table that computes and keeps missing entries.
local function memoize(make)
  return setmetatable({}, { __index = function(all, name)
    cached = cached + 1
    local made = make(name)
    all[name] = made
    return made
  end })
end

local function key_tables(prefix)
  local plain = memoize(function(name) return prefix .. name end)
  local groups = memoize(function(name)
    return memoize(function(of) return prefix .. name .. ':' .. of end)
  end)
  return { plain = plain, groups = groups }
end

-- Keys of which one exists as soon as the queue has stored anything.
local function sentinel_keys()
  return { KEY.fencing_token, KEY.owners, KEY.finished, KEY.gone, KEY.site_locks, KEY.workers, KEY.counters }
end

-- Initializes a call. Returns an error reply when Redis has another layout; then nothing was changed.
local function init_call(keys, args, may_write)
  PREFIX, ARGV, call = keys[1] .. ':', args, redis.call
  REDIS_TIME = call('TIME')
  NOW_TEXT = REDIS_TIME[1] .. string.sub('000000' .. REDIS_TIME[2], -6, -4)
  NOW = tonumber(NOW_TEXT) -- ms
  if not CACHE or cached > 5000 then
    CACHE, cached = memoize(key_tables), 0
    FIELDS = memoize(function(i)
      local number = string.format('%d', i)
      return memoize(function(name) return number .. '.' .. name end)
    end)
  end
  KEY, KEY_OF = CACHE[PREFIX].plain, CACHE[PREFIX].groups
  return check_layout(KEY.layout, sentinel_keys, may_write)
end

local BATCH = 100 -- the most entries of any kind that one call handles

local function int(n) return string.format('%d', n) end

-- The key `name:of`, not cached: for keys of one task, which would crowd out the recurring ones.
local function task_key(name, of) return PREFIX .. name .. ':' .. of end
