-- What is kept of a task.
-- KEYS  1 hash tag
-- ARGV  1 task
-- Returns {{name, kind, bytes, seq}, ...}

local kept = {}
local flat = call('HGETALL', P .. 'meta:' .. ARGV[1])
for n = 1, #flat, 2 do
  local seq, _, bytes, kind = parse(flat[n + 1])
  if seq and call('EXISTS', P .. 'blob:' .. ARGV[1] .. '/' .. flat[n]) == 1 then
    kept[#kept + 1] = { flat[n], kind, bytes, int(seq) }
  end
end
return kept
