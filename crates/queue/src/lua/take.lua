-- Giving a step to a worker; shared by claim and complete.

local function take(t, i, worker, lease)
  local stage = step(t, i)[2]
  local now = CLOCK[1] * 1000000 + CLOCK[2]
  local token, last = now, tonumber(call('SET', P .. 'fence', int(now), 'GET') or 0)
  if last >= now then
    token = last + 1
    call('SET', P .. 'fence', int(token))
  end
  local live = t.live
  local waited = NOW - (tonumber(live[field(i, 'ready')]) or t.created)
  local best = math.max(tonumber(live[field(i, 'best')]) or 0, tonumber(live[field(i, 'percent')]) or 0)
  set(t, field(i, 'state'), 'running')
  set(t, field(i, 'token'), int(token))
  set(t, field(i, 'worker'), worker) -- for people
  if best > 0 then
    set(t, field(i, 'best'), int(best))
    set(t, field(i, 'percent'), '0')
  end
  if not live[field(i, 'started')] then set(t, field(i, 'started'), int(NOW)) end
  if not live.started then set(t, 'started', int(NOW)) end
  call('ZADD', zset('leases', stage), int(NOW + tonumber(lease)), member(t, i))
  if t.state == 'queued' then set_state(t, 'running') end
  say(t, 'A worker has begun.')
  event(t, i)
  flush(t)
  return { 'claimed', t.id, int(i), int(token), stage, step(t, i)[3], int(math.max(0, waited)),
    live[field(i, 'attempts')] or '0', live[field(i, 'crashes')] or '0', int(t.created), t.request, t.owner, t.trace,
    t.secrets }
end

-- The first step that is ready in these stages; ARGV[first] and all after it name them.
local function head(first)
  if #ARGV == first then
    local one = call('ZPOPMIN', zset('ready', ARGV[first]))
    return one[1], ARGV[first]
  end
  local found, score, stage
  for n = first, #ARGV do
    local one = call('ZRANGE', zset('ready', ARGV[n]), 0, 0, 'WITHSCORES')
    if one[1] and (not found or tonumber(one[2]) < score) then
      found, score, stage = one[1], tonumber(one[2]), ARGV[n]
    end
  end
  if found then call('ZREM', zset('ready', stage), found) end
  return found, stage
end

-- Returns {'none'} | {'again'} (a batch of worthless entries was dropped) | {'claimed', ...}
local function claim(worker, lease, first)
  for _ = 1, BATCH do
    local found, stage = head(first)
    if not found then return { 'none' } end
    local id, i = string.match(found, '^(.*):(%d+)$')
    i = tonumber(i)
    local t = id and load(id)
    if t and not t.sound then
      call('ZADD', P .. 'broken', int(NOW), id) -- the sweep ends it
    elseif t and not FINAL[t.state] and t.ending == '' and step(t, i) and step(t, i)[2] == stage and not has_lease(t, i) then
      return take(t, i, worker, lease)
    end
  end
  return { 'again' }
end
