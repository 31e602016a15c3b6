-- A task's events after one of them, oldest first.
-- KEYS  1 hash tag
-- ARGV  1 id, 2 number of the event to start after, 3 the most events
-- Returns {entry, ...}

local events = task_key('events', ARGV[1])
local first = call('LINDEX', events, 0)
if not first then return {} end
local number = tonumber(string.match(first, '^%d+%-(%d+)')) or 1
local from = math.max(0, tonumber(ARGV[2]) + 1 - number)
return call('LRANGE', events, int(from), int(from + tonumber(ARGV[3]) - 1))
