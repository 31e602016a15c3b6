-- Depths and workers.
-- KEYS  1 hash tag
-- ARGV  1 for how long a silent worker is shown (ms), 2.. stages
-- Returns {now ms, {ready, running, delayed, waiting, oldest ms} for each stage.., {report, seen ms, ...}}

local stats = { NOW_TEXT }
for n = 2, #ARGV do
  local stage = ARGV[n]
  -- By score the first are nearly the oldest; one that was given back or promoted may stand before them.
  local oldest = 0
  for _, m in ipairs(call('ZRANGE', Z.ready[stage], 0, 19)) do
    local id, i = of_member(m)
    local since = i and redis.pcall('HGET', key('live', id), FIELDS[i].ready)
    if not since then -- nothing has happened to it since it was accepted
      local body = redis.pcall('GETRANGE', key('task', id), 2, 17)
      since = type(body) == 'string' and string.match(body, '^%d+')
    end
    since = type(since) == 'string' and tonumber(since) or NOW
    oldest = math.max(oldest, NOW - since)
  end
  stats[#stats + 1] = {
    call('ZCARD', Z.ready[stage]), call('ZCARD', Z.leases[stage]),
    call('ZCARD', Z.delayed[stage]), call('ZCARD', Z.waiting[stage]), oldest,
  }
end
local workers = {}
local seen = call('ZRANGE', K.workers, '+inf', int(NOW - tonumber(ARGV[1])), 'BYSCORE', 'REV', 'LIMIT', 0,
  BATCH, 'WITHSCORES')
for n = 1, #seen, 2 do
  local report = call('GET', Z.worker[seen[n]])
  if report then
    workers[#workers + 1] = report
    workers[#workers + 1] = int(tonumber(seen[n + 1]))
  end
end
stats[#stats + 1] = workers
return stats
