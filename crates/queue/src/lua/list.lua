-- A page of tasks, newest first. Looks at a bounded number of them: a page may be short and yet not the last.
-- KEYS  1 hash tag
-- ARGV  1 '=' and the owner, or '' for all, 2 state or '', 3 kind or '', 4 lower-case text to look for or '', 5 id to begin after or '',
--       6 how many at most, 7 how many to look at, 8 how many bytes at most (one task always fits)
-- Returns {id to go on after or '', {id, sealed result or '', {field, value, ...}}, ...}

local owner = ARGV[1] ~= '' and string.sub(ARGV[1], 2) or nil
local states = ARGV[2] ~= '' and { ARGV[2] } or STATES
local kind, text, after = ARGV[3], ARGV[4], ARGV[5]
local limit, look, room = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local function newest(n)
  local ids = {}
  for _, state in ipairs(states) do
    local from = after ~= '' and '(' .. after or '+'
    for _, id in ipairs(call('ZRANGE', index(state, owner), from, '-', 'BYLEX', 'REV', 'LIMIT', 0, n)) do
      ids[#ids + 1] = id
    end
  end
  table.sort(ids, function(a, b) return a > b end)
  return ids
end

local function wanted(id)
  local f = redis.pcall('HMGET', task_key(id), 'kind', 'sites')
  if f.err or not f[1] then return false end
  if kind ~= '' and f[1] ~= kind then return false end
  if text == '' or string.sub(id, 1, #text) == text then return true end
  local ok, sites = pcall(cjson.decode, f[2])
  if not ok or type(sites) ~= 'table' then return false end
  for _, site in ipairs(sites) do
    if string.find(string.lower(site), text, 1, true) then return true end
  end
  return false
end

local page = { '' }
while true do
  local ids = newest(BATCH)
  if #ids == 0 then return page end
  for n = 1, math.min(#ids, BATCH) do
    if look == 0 or #page > limit or room <= 0 then
      page[1] = after
      return page
    end
    local id = ids[n]
    look = look - 1
    after = id
    if wanted(id) then
      local fields = call('HGETALL', task_key(id))
      page[#page + 1] = { id, call('GET', P .. 'rsecret:' .. id) or '', fields }
      for _, value in ipairs(fields) do room = room - #value end
    end
  end
end
