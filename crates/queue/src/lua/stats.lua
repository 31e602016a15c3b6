-- Depths and workers.
-- KEYS  1 hash tag
-- ARGV  1 how long a silent worker is shown (ms), 2 the most workers, 3.. stages
-- Returns {now ms, unreadable tasks, {ready, running, delayed, waiting, oldest ms} for each stage.., {report, seen ms, ...}}

local stats = { NOW_TEXT, int(call('ZCARD', KEY.unreadable)) }
for n = 3, #ARGV do
  local stage = ARGV[n]
  -- The first by score are nearly the oldest; released and promoted steps may come before them.
  local oldest = 0
  for _, m in ipairs(call('ZRANGE', KEY_OF.ready[stage], 0, 19)) do
    local id, i = parse_member(m)
    local since = i and redis.pcall('HGET', task_key('live', id), FIELDS[i].ready)
    if not since then -- nothing has changed since it was accepted
      local body = redis.pcall('GETRANGE', task_key('task', id), 2, 17)
      since = type(body) == 'string' and string.match(body, '^%d+')
    end
    since = type(since) == 'string' and tonumber(since) or NOW
    oldest = math.max(oldest, NOW - since)
  end
  stats[#stats + 1] = {
    call('ZCARD', KEY_OF.ready[stage]), call('ZCARD', KEY_OF.leases[stage]),
    call('ZCARD', KEY_OF.delayed[stage]), call('ZCARD', KEY_OF.waiting[stage]), oldest,
  }
end
local workers = {}
local seen = call('ZRANGE', KEY.workers, '+inf', int(NOW - tonumber(ARGV[1])), 'BYSCORE', 'REV', 'LIMIT', 0,
  ARGV[2], 'WITHSCORES')
for n = 1, #seen, 2 do
  local report = call('GET', KEY_OF.worker[seen[n]])
  if report then
    workers[#workers + 1] = report
    workers[#workers + 1] = int(tonumber(seen[n + 1]))
  end
end
stats[#stats + 1] = workers
return stats
