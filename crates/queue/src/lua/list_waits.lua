-- Why steps wait: those of one task, or the first ones of each stage.
-- KEYS  1 hash tag
-- ARGV  1 id of a task, or '' for the first ones, 2 the most tasks, 3.. stages
-- Returns {{task, step, stage, why, ms, ...}, ...} as append_waits does

local ids, seen, most, answer = {}, {}, tonumber(ARGV[2]), {}
local function add(members)
  for _, m in ipairs(members) do
    local id = parse_member(m)
    if #ids < most and not seen[id] then
      seen[id] = true
      ids[#ids + 1] = id
    end
  end
end
if ARGV[1] ~= '' then
  ids[1] = ARGV[1]
else
  -- Each kind of waiting of each stage has its part.
  local part = math.max(1, math.floor(most / (3 * (#ARGV - 2))))
  for n = 3, #ARGV do
    local stage = ARGV[n]
    for _, owner in ipairs(call('ZRANGE', KEY_OF.ready[stage], 0, part - 1)) do
      add(call('ZRANGE', ready_steps(stage, owner), 0, 0))
    end
    add(call('ZRANGE', KEY_OF.waiting[stage], 0, part - 1))
    add(call('ZRANGE', KEY_OF.delayed[stage], 0, part - 1))
  end
end
for _, id in ipairs(ids) do
  local t = load_task(id)
  if t and t.readable and not is_internal(t) and not FINAL[t.state] then append_waits(t, answer) end
end
return answer
