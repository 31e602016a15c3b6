-- Giving a step to a worker; shared by claim and complete.

-- What the steps before left behind: pairs of `<step>.result` or `<step>.sealed` and the text.
local function add_outputs(t, answer)
  for part, name in pairs({ result = 'out', sealed = 'rsecret' }) do
    local flat = call('HGETALL', key(name, t.id))
    for n = 1, #flat, 2 do
      local i = string.match(flat[n], part == 'result' and '^(%d+)%.result$' or '^%d+$')
      if i then
        answer[#answer + 1] = FIELDS[tonumber(i)][part]
        answer[#answer + 1] = flat[n + 1]
      end
    end
  end
end

local function take(t, i, lease)
  local stage = step(t, i)[2]
  local token = CLOCK[1] .. string.sub('000000' .. CLOCK[2], -6) -- µs
  local last = call('SET', K.fence, token, 'GET')
  if last and last >= token then -- both have 16 digits
    token = int(tonumber(last) + 1)
    call('SET', K.fence, token)
  end
  local live = t.live
  local waited = NOW - (tonumber(live[FIELDS[i].ready]) or t.created)
  local best = math.max(tonumber(live[FIELDS[i].best]) or 0, tonumber(live[FIELDS[i].percent]) or 0)
  set(t, FIELDS[i].token, token)
  if best > 0 then
    set(t, FIELDS[i].best, best)
    set(t, FIELDS[i].percent, '0')
  end
  if (live[FIELDS[i].started] or '') == '' then set(t, FIELDS[i].started, NOW_TEXT) end
  call('ZADD', Z.leases[stage], int(NOW + tonumber(lease)), member(t, i))
  if t.state == 'queued' then set_state(t, 'running') end
  say(t, MESSAGES.running)
  event(t, i)
  flush(t)
  local answer = { 'claimed', t.id, i, token, math.max(0, waited), live[FIELDS[i].attempts] or '0',
    live[FIELDS[i].crashes] or '0', t.body, live.replays or '0' }
  if #t.plan > 1 then add_outputs(t, answer) end
  return answer
end

-- The first step that is ready in these stages; ARGV[first] and all after it name them.
local function head(first)
  if #ARGV == first then
    local one = call('ZPOPMIN', Z.ready[ARGV[first]])
    return one[1], ARGV[first]
  end
  local found, score, stage
  for n = first, #ARGV do
    local one = call('ZRANGE', Z.ready[ARGV[n]], 0, 0, 'WITHSCORES')
    if one[1] and (not found or tonumber(one[2]) < score) then
      found, score, stage = one[1], tonumber(one[2]), ARGV[n]
    end
  end
  if found then call('ZREM', Z.ready[stage], found) end
  return found, stage
end

-- Returns {'none'} | {'again'} (a batch of worthless entries was dropped) | {'claimed', ...}
local function claim(lease, first)
  for _ = 1, BATCH do
    local found, stage = head(first)
    if not found then return { 'none' } end
    local id, i = of_member(found)
    local t = i and load(id)
    if t and not t.sound then
      set_aside(id)
    elseif t and not FINAL[t.state] and step(t, i) and not is_off(t, i) and step(t, i)[2] == stage and not has_lease(t, i) then
      return take(t, i, lease)
    end
  end
  return { 'again' }
end
