-- Depths and workers.
-- KEYS  1 hash tag
-- ARGV  1 how long a silent worker is shown (ms), 2 the most workers, 3.. stages
-- Returns {now ms, unreadable tasks, {ready, running, delayed, waiting, oldest ms} for each stage.., {report, seen ms, ...}}

-- How long a ready step has waited (ms).
local function wait(m)
  local id, i = parse_member(m)
  local since = i and redis.pcall('HGET', task_key('live', id), FIELDS[i].ready)
  if not since then -- nothing has changed since it was accepted
    local body = redis.pcall('GETRANGE', task_key('task', id), 2, 17)
    since = type(body) == 'string' and string.match(body, '^%d+')
  end
  return NOW - (type(since) == 'string' and tonumber(since) or NOW)
end

-- The number of ready steps of a stage, and the wait of the oldest. The first of an owner by score are nearly its oldest;
-- released and promoted steps may come before them. Some steps of each owner are examined, a batch in all.
local function ready_depth(stage)
  local owners = call('ZRANGE', KEY_OF.ready[stage], 0, -1)
  local each = math.max(1, math.min(20, math.floor(BATCH / #owners)))
  local ready, oldest = 0, 0
  for n, owner in ipairs(owners) do
    local steps = ready_steps(stage, owner)
    ready = ready + call('ZCARD', steps)
    if n <= BATCH then
      for _, m in ipairs(call('ZRANGE', steps, 0, each - 1)) do oldest = math.max(oldest, wait(m)) end
    end
  end
  return ready, oldest
end

local stats = { NOW_TEXT, int(call('ZCARD', KEY.unreadable)) }
for n = 3, #ARGV do
  local stage = ARGV[n]
  local ready, oldest = ready_depth(stage)
  stats[#stats + 1] = {
    ready, call('ZCARD', KEY_OF.leases[stage]),
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
