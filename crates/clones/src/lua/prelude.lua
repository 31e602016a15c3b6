-- Shared by the scripts. KEYS[1] is the registry's hash tag; all other keys are derived from it (README). Times are µs of
-- Redis' clock, unique and rising.

local P = KEYS[1] .. ':'
local call = redis.call
local DAY = 24 * 3600 * 1000
local BATCH = 100
-- The version of a clone's entry. An entry of another version is not deleted because nobody has named it for a day.
local ENTRY_VERSION = '1'

local other_layout = check_layout(P .. 'layout', function() return { P .. 'names', P .. 'gone', P .. 'last' } end, MAY_WRITE)
if other_layout then return other_layout end

local function int(n) return string.format('%.0f', n) end
local function registry_time()
  local clock = call('TIME')
  local now = math.max((tonumber(call('GET', P .. 'last')) or 0) + 1, clock[1] * 1000000 + clock[2])
  call('SET', P .. 'last', int(now))
  return now
end

local function remove(name)
  local owner, by = unpack(call('HMGET', P .. 'clone:' .. name, 'owner', 'by'))
  call('ZREM', P .. 'names', name)
  call('ZREM', P .. 'seen', name)
  if owner then call('ZREM', P .. 'of:' .. owner, name) end
  if by then call('ZREM', P .. 'by:' .. by, name) end
  call('DEL', P .. 'clone:' .. name)
end

-- Deletes a clone's entry, and its seal, and remembers it as gone. Returns whether it was there.
local function mark_gone(name, now, most)
  local entry, owner = unpack(call('HMGET', P .. 'clone:' .. name, 'entry', 'owner'))
  if not entry then return false end
  remove(name)
  call('HSET', P .. 'gone:' .. name, 'entry', entry, 'owner', owner, 'at', int(now))
  call('PEXPIRE', P .. 'gone:' .. name, DAY)
  call('ZADD', P .. 'gone', int(now), name)
  call('ZREMRANGEBYSCORE', P .. 'gone', '-inf', int(now - DAY * 1000))
  for _, old in ipairs(call('ZRANGE', P .. 'gone', 0, -1 - most)) do
    call('ZREM', P .. 'gone', old)
    call('DEL', P .. 'gone:' .. old)
  end
  return true
end
