-- Completes a step: the last step of a phase starts the next phase, the last of all ends the task. The worker may claim its
-- next step in the same call.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 result, 6 sealed result or '', 7 lease ms,
--       8 nonce of the claim, 9 '1' when the call may have been executed before, else '', 10 an owner whose steps are not
--       claimed, or '', 11.. stages to claim from, if any
-- Returns {'advanced' | 'finished'}, followed by what claim returns when stages are given; or {'lost'}

local function answer_with(completed, claimed)
  local answer = { completed }
  for _, word in ipairs(claimed) do answer[#answer + 1] = word end
  return answer
end

-- A lease with this nonce shows that the call was executed: the step is complete.
local repeated = ARGV[9] == '1' and repeat_claim(ARGV[7], ARGV[8], 11)
if repeated then
  local before = load_task(ARGV[2])
  return answer_with(before and not FINAL[before.state] and 'advanced' or 'finished', repeated)
end

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
end_lease(t, i, 'succeeded')
if ARGV[5] ~= '{}' then store_output(t, FIELDS[i].result, ARGV[5]) end
if ARGV[6] ~= '' then
  call('HSET', task_key('result_secrets', t.id), ARGV[3], ARGV[6])
  set(t, 'result_secret_bytes', (tonumber(t.live.result_secret_bytes) or 0) + #ARGV[6])
end

local finished = advance(t)
if not finished and t.ending == '' then
  -- Replaces the message of a parallel step.
  set_message(t, 'Done: ' .. step(t, i)[3] .. '.', int(overall_percent(t)))
  add_event(t, i)
end
flush(t)
return answer_with(finished and 'finished' or 'advanced', #ARGV > 10 and claim(ARGV[7], ARGV[8], ARGV[10], 11) or {})
