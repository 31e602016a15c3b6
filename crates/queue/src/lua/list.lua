-- A page of tasks, newest first. A bounded number of tasks is examined, so a page may be short without being the last.
-- KEYS  1 hash tag
-- ARGV  1 '=' and the owner, or '' for all, 2 state or '', 3 kind or '', 4 lower-case text to search or '', 5 id to start after or '',
--       6 the most tasks of a page, 7 the most tasks to examine, 8 the most bytes of a page (one task always fits)
-- Returns {id to continue after or '', the task as get returns it, ...}

local states = ARGV[2] ~= '' and { ARGV[2] } or STATES
local kind, text, after = ARGV[3], ARGV[4], ARGV[5]
local limit, to_examine, bytes_left = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local owners = ARGV[1] ~= '' and { string.sub(ARGV[1], 2) } or call('SMEMBERS', KEY.owners)

-- Every index is sorted, so the newest task of all is the newest of their heads.
local sources = {}
local chunk = math.max(1, math.floor(BATCH / (#owners * #states)))
local function refill(source)
  source.ids, source.at = newest_of(source.state, source.owner, source.last, chunk), 1
  source.last = source.ids[#source.ids]
end

-- A heap of sources, the one with the newest head on top.
local function head_of(n) return sources[n].ids[sources[n].at] end
local function sink(n)
  while 2 * n <= #sources do
    local child = 2 * n
    if child < #sources and head_of(child + 1) > head_of(child) then child = child + 1 end
    if head_of(n) >= head_of(child) then return end
    sources[n], sources[child] = sources[child], sources[n]
    n = child
  end
end
for _, owner in ipairs(owners) do
  for _, state in ipairs(states) do
    local source = { state = state, owner = owner, last = after ~= '' and after or nil }
    refill(source)
    if source.ids[1] then sources[#sources + 1] = source end
  end
end
for n = math.floor(#sources / 2), 1, -1 do sink(n) end
local function newest()
  local first = sources[1]
  if not first then return nil end
  local id = first.ids[first.at]
  first.at = first.at + 1
  if first.at > #first.ids then refill(first) end
  if not first.ids[first.at] then
    sources[1] = sources[#sources]
    sources[#sources] = nil
  end
  if sources[1] then sink(1) end
  return id
end

local function matches(t)
  if kind ~= '' and t.kind ~= kind then return false end
  if text == '' or string.sub(t.id, 1, #text) == text then return true end
  for _, site in ipairs(t.sites) do
    if string.find(string.lower(site), text, 1, true) then return true end
  end
  return false
end

local page = { '' }
while true do
  if to_examine == 0 or #page > limit or bytes_left <= 0 then
    page[1] = after
    return page
  end
  local id = newest()
  if not id then return page end
  to_examine = to_examine - 1
  after = id
  local t = load_task(id)
  if t and t.readable and matches(t) then
    local found = snapshot(t)
    page[#page + 1] = found
    bytes_left = bytes_left - #t.body
    for _, value in ipairs(found[4]) do bytes_left = bytes_left - #value end
  end
end
