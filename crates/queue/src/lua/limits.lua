-- Limits of owners.

-- Nil when the owner may have another task, which then counts as one. Otherwise the exceeded limit and how long it lasts (ms).
-- ARGV[first] is tasks a minute, the next one unfinished tasks, each '' for no limit. The rate is GCRA with a burst of a
-- minute's tasks.
local function limit_exceeded(owner, first)
  local per_minute, concurrent = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
  if concurrent then
    local has, buckets = call('ZCARD', index('running', owner)), index('queued', owner)
    for _, bucket in ipairs(call('ZRANGE', buckets, 0, concurrent - 1)) do
      if has >= concurrent then break end
      has = has + call('ZCARD', buckets .. ':' .. bucket)
    end
    if has >= concurrent then return { 'limited', 'concurrent', '0' } end
  end
  if per_minute then
    local rate, each = KEY_OF.rate[owner], 60000 / per_minute
    -- A time far ahead was written before the clock was set back.
    local due = math.min(math.max(tonumber(call('GET', rate)) or 0, NOW), NOW + 60000) + each
    if due > NOW + 60000 then return { 'limited', 'rate', int(math.ceil(due - NOW - 60000)) } end
    call('SET', rate, int(math.ceil(due)), 'PX', 120000)
  end
end
