-- A step went well: the last of its phase starts the next phase, the last of all ends the task. The worker may take its
-- next step in the same call.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 result, 6 sealed result or '', 7 lease ms,
--       8.. stages to claim from, if any
-- Returns {'advanced' | 'finished'}, followed by what claim returns when stages are given; or {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
unlease(t, i, 'succeeded')
if ARGV[5] ~= '{}' then put_out(t, FIELDS[i].result, ARGV[5]) end
if ARGV[6] ~= '' then
  call('HSET', key('rsecret', t.id), ARGV[3], ARGV[6])
  set(t, 'sealed', (tonumber(t.live.sealed) or 0) + #ARGV[6])
end

local finished = go_on(t)
if not finished and t.ending == '' then
  -- Not what the step beside it said last.
  say(t, 'Done: ' .. step(t, i)[3] .. '.', int(overall(t)))
  event(t, i)
end
flush(t)
local answers = { finished and 'finished' or 'advanced' }
if #ARGV > 7 then
  for _, word in ipairs(claim(ARGV[7], 8)) do answers[#answers + 1] = word end
end
return answers
