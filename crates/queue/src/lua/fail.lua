-- A step failed: it is tried again, or the task ends.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 problem, 6 code, 7 its title,
--       8 how often the step may be tried for this code, 9 backoff base ms, 10 backoff cap ms,
--       11 chance in [0, 1), 12 no sooner than this (ms)
-- Returns {'retrying', delay ms} | {'dead'} | {'cancelled'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
local before = tonumber(t.live[FIELDS[i].attempts]) or 0
set(t, FIELDS[i].attempts, int(before + 1))
local answer
if is_off(t, i) then
  unlease(t, i, t.ending)
  conclude(t)
  answer = { t.ending == 'cancelled' and 'cancelled' or 'dead' }
elseif before + 1 >= tonumber(ARGV[8]) then
  spoil(t, i, ARGV[7], ARGV[5], ARGV[6])
  answer = { 'dead' }
else
  unlease(t, i)
  local ceiling = math.min(tonumber(ARGV[10]), tonumber(ARGV[9]) * 2 ^ math.min(before, 30))
  local delay = math.max(math.floor(ceiling * tonumber(ARGV[11])), tonumber(ARGV[12]))
  call('ZADD', Z.delayed[step(t, i)[2]], int(NOW + delay), member(t, i))
  say(t, ARGV[7] .. '; it will be tried again.')
  event(t, i, ARGV[6])
  answer = { 'retrying', int(delay) }
end
flush(t)
return answer
