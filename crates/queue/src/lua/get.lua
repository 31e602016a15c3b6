-- One task.
-- KEYS  1 hash tag
-- ARGV  1 id
-- Returns {'task', id, record, {field, value, ...}, {name, output, ...}, {step, sealed result, ...}, '1' when secrets are kept}
--       | {'unreadable'} | {'gone'} | {'not_found'}

local t = load_task(ARGV[1])
if not t or is_internal(t) then return { call('ZSCORE', KEY.gone, ARGV[1]) and 'gone' or 'not_found' } end
if not t.readable then return { 'unreadable' } end
local answer = snapshot(t)
table.insert(answer, 1, 'task')
return answer
