-- Marks the clean-ups of a site: a task has taken over what was left there.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 site
-- Returns {'ok'} | {'lost'}

local i = tonumber(ARGV[3])
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
flush(t)
for _, id in ipairs(call('ZRANGE', cleanups_of_site(ARGV[5]), 0, BATCH - 1)) do
  local c = load_task(id)
  if c and c.readable then
    set(c, 'superseded', '1')
    flush(c)
    local task, name = string.match(line(c, REQUEST), CLEANUP_OF)
    local of = task and task ~= t.id and load_task(task)
    if of and of.readable then
      forget_installed(of, name)
      flush(of)
    end
  end
end
return { 'ok' }
