-- Stores an artifact. Expired artifacts are deleted, and the oldest of all until there is space.
-- KEYS  1 hash tag
-- ARGV  1 task, 2 name, 3 media type, 4 size, 5 compressed content, 6 the most bytes of a task, 7 the most names of a task,
--       8 the most bytes in all, 9 the least that an artifact counts for, 10 retention (ms), 11 how many deleted artifacts
--       are remembered
-- Returns 'ok' | 'large'

local task, name = ARGV[1], ARGV[2]
local counts = math.max(#ARGV[5], tonumber(ARGV[9]))
local keep = tonumber(ARGV[10])

local function remove(entry)
  local owner, file = string.match(entry, '^([^/]*)/(.*)$')
  local meta = call('HGET', P .. 'meta:' .. owner, file)
  local seq, packed
  if meta then seq, packed = parse(meta) end
  call('DECRBY', P .. 'total', packed or 0)
  call('HDEL', P .. 'meta:' .. owner, file)
  call('DEL', P .. 'blob:' .. entry)
  call('ZREM', P .. 'order', entry)
end

local function evict(entry)
  remove(entry)
  call('ZADD', P .. 'gone', int(NOW), entry)
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
  local oldest = call('ZRANGE', P .. 'order', 0, 0)[1]
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
call('INCRBY', P .. 'total', int(counts))
call('ZREM', P .. 'gone', entry)
call('ZREMRANGEBYRANK', P .. 'gone', 0, -1 - tonumber(ARGV[11]))
return 'ok'
