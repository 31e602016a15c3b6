-- Stores an artifact. Expired artifacts are deleted, and then those of the owner that has most, its oldest first, until there
-- is space.
-- KEYS  1 hash tag
-- ARGV  1 task, 2 name, 3 media type, 4 size, 5 compressed content, 6 the most bytes of a task, 7 the most names of a task,
--       8 the most bytes in all, 9 the least that an artifact counts for, 10 retention (ms), 11 how many deleted artifacts
--       are remembered, 12 owner
-- Returns 'ok' | 'large'

local task, name, owner = ARGV[1], ARGV[2], ARGV[12]
local counts = math.max(#ARGV[5], tonumber(ARGV[9]))
local keep = tonumber(ARGV[10])

-- Counts bytes of an owner, or no longer counts them when they are negative.
local function count(bytes, of)
  call('INCRBY', P .. 'total', int(bytes))
  if tonumber(call('ZINCRBY', P .. 'total_by_owner', int(bytes), of)) <= 0 then call('ZREM', P .. 'total_by_owner', of) end
end

-- What an artifact counts for is known for longer than the artifact, which expires by itself.
local function remove(entry)
  local of_task, file = string.match(entry, '^([^/]*)/(.*)$')
  local packed, of = string.match(call('HGET', P .. 'counted', entry) or '', '^(%d+) (.*)$')
  if packed then
    count(-tonumber(packed), of)
    call('HDEL', P .. 'counted', entry)
    call('ZREM', P .. 'order:' .. of, entry)
  end
  call('HDEL', P .. 'meta:' .. of_task, file)
  call('DEL', P .. 'blob:' .. entry)
  call('ZREM', P .. 'order', entry)
end

local function evict(entry)
  remove(entry)
  call('ZADD', P .. 'gone', int(NOW), entry)
end

-- The oldest artifact of the owner that has most, or of all when no owner is known; nil when nothing is stored.
local function first_to_evict()
  while true do
    local most = call('ZRANGE', P .. 'total_by_owner', 0, 0, 'REV')[1]
    if not most then return call('ZRANGE', P .. 'order', 0, 0)[1] end
    local oldest = call('ZRANGE', P .. 'order:' .. most, 0, 0)[1]
    if oldest then return oldest end
    call('ZREM', P .. 'total_by_owner', most) -- Redis has lost data
  end
end

local held, names = 0, 0
for file, meta in pairs((function(flat)
  local all = {}
  for n = 1, #flat, 2 do all[flat[n]] = flat[n + 1] end
  return all
end)(call('HGETALL', P .. 'meta:' .. task))) do
  local _, packed = parse(meta)
  if file ~= name then
    held = held + (packed or 0)
    names = names + 1
  end
end
if held + counts > tonumber(ARGV[6]) or names >= tonumber(ARGV[7]) or counts > tonumber(ARGV[8]) then
  return 'large'
end

local entry = task .. '/' .. name
if call('ZSCORE', P .. 'order', entry) then remove(entry) end
for _, old in ipairs(call('ZRANGE', P .. 'order', '-inf', int(NOW - keep * 1000), 'BYSCORE', 'LIMIT', 0, 100)) do
  evict(old)
end
while (tonumber(call('GET', P .. 'total')) or 0) + counts > tonumber(ARGV[8]) do
  local oldest = first_to_evict()
  if not oldest then
    call('DEL', P .. 'total') -- nothing is stored: the total is wrong because Redis has lost data
    break
  end
  evict(oldest)
end

local seq = math.max((tonumber(call('GET', P .. 'last')) or 0) + 1, NOW)
call('SET', P .. 'last', int(seq))
call('SET', P .. 'blob:' .. entry, ARGV[5], 'PX', keep)
call('HSET', P .. 'meta:' .. task, name, int(seq) .. ' ' .. int(counts) .. ' ' .. ARGV[4] .. ' ' .. ARGV[3])
call('PEXPIRE', P .. 'meta:' .. task, keep)
call('ZADD', P .. 'order', int(seq), entry)
call('ZADD', P .. 'order:' .. owner, int(seq), entry)
call('HSET', P .. 'counted', entry, int(counts) .. ' ' .. owner)
count(counts, owner)
call('ZREM', P .. 'gone', entry)
call('ZREMRANGEBYRANK', P .. 'gone', 0, -1 - tonumber(ARGV[11]))
return 'ok'
