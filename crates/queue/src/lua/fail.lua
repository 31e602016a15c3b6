-- An attempt at a step failed: the step is retried, or fails for good.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 problem, 6 code, 7 its title, 8 the most attempts,
--       9 backoff base ms, 10 backoff cap ms, 11 a random number in [0, 1), 12 the shortest delay (ms)
-- Returns {'retrying', delay ms} | {'dead'} | {'cancelled'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
local before = tonumber(t.live[FIELDS[i].attempts]) or 0
set(t, FIELDS[i].attempts, int(before + 1))
local answer
if is_abandoned(t, i) then
  end_lease(t, i, t.ending)
  finish_if_idle(t)
  answer = { t.ending == 'cancelled' and 'cancelled' or 'dead' }
elseif before + 1 >= tonumber(ARGV[8]) then
  fail_step(t, i, ARGV[7], ARGV[5], ARGV[6])
  answer = { 'dead' }
else
  end_lease(t, i)
  if is_site_cleanup(t) then set(t, 'kept_waiting_since', '') end -- it had its turn
  local ceiling = math.min(tonumber(ARGV[10]), tonumber(ARGV[9]) * 2 ^ math.min(before, 30))
  local delay = math.max(math.floor(ceiling * tonumber(ARGV[11])), tonumber(ARGV[12]))
  delay_step(t, i, delay)
  set_message(t, ARGV[7] .. '; it will be tried again.')
  add_event(t, i, ARGV[6])
  answer = { 'retrying', int(delay) }
end
flush(t)
return answer
