-- One task.
-- KEYS  1 hash tag
-- ARGV  1 id
-- Returns {'task', id, body, {field, value, ...}, {name, value, ...}, {step, sealed result, ...}, '1' when secrets are kept}
--       | {'gone'} | {'unknown'}

local t = load(ARGV[1])
if not t or is_delivery(t) then return { call('ZSCORE', K.gone, ARGV[1]) and 'gone' or 'unknown' } end
local answer = told(t)
table.insert(answer, 1, 'task')
return answer
