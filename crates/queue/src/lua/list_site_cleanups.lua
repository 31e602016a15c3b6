-- Clean-ups of sites that are pending, oldest first, and those that were given up, newest first.
-- KEYS  1 hash tag
-- ARGV  1 the most of each
-- Returns {{'pending' | 'given_up', since ms, site, task, name, how the task ended, text}, ...}

local found = {}
local function add(state, since, site, request)
  local task, name, ending, text = string.match(request, CLEANUP_OF)
  if task then found[#found + 1] = { state, since, site, task, name, ending, text } end
end
for _, id in ipairs(call('ZRANGE', KEY.site_cleanups, 0, ARGV[1] - 1)) do
  local c = load_task(id)
  if c and c.readable then add('pending', int(c.created), c.sites[1], line(c, REQUEST)) end
end
for _, entry in ipairs(call('LRANGE', KEY.given_up_site_cleanups, 0, ARGV[1] - 1)) do
  add('given_up', string.match(entry, '^(%d+) (%S+) (.*)$'))
end
return found
