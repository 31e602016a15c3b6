-- Extends a lease and stores progress. The first one confirms the claim: from then on the loss of the worker is a crash.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 lease ms, 6 percent or '', 7 message
-- Returns {'ok', '1' when the step should be stopped, else '0'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
call('ZADD', KEY_OF.leases[step(t, i)[2]], int(NOW + tonumber(ARGV[5])), member(t, i))
if ARGV[6] ~= '' then
  local live = t.live
  local percent = math.max(tonumber(ARGV[6]), tonumber(live[FIELDS[i].percent]) or 0) -- never back within an attempt
  -- Further than any claim before: whatever made those crash is over. At most 100 times, so never a loop.
  if percent > (tonumber(live[FIELDS[i].best_percent]) or 0) and live[FIELDS[i].crashes] then set(t, FIELDS[i].crashes, '0') end
  set(t, FIELDS[i].percent, int(percent))
  local overall = int(overall_percent(t))
  if overall ~= (live.percent or '0') or ARGV[7] ~= live.message then
    set_message(t, ARGV[7], overall)
    add_event(t, i)
  end
end
local should_stop = is_abandoned(t, i) or must_yield(t)
flush(t)
return { 'ok', should_stop and '1' or '0' }
