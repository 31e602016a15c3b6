-- What is kept of some tasks.
-- KEYS  1 hash tag
-- ARGV  1.. tasks
-- Returns {{{name, kind, bytes, seq}, ...} of each task, in this order}

local all = {}
for n, task in ipairs(ARGV) do
  local kept = {}
  local flat = call('HGETALL', P .. 'meta:' .. task)
  for f = 1, #flat, 2 do
    local seq, _, bytes, kind = parse(flat[f + 1])
    if seq and call('EXISTS', P .. 'blob:' .. task .. '/' .. flat[f]) == 1 then
      kept[#kept + 1] = { flat[f], kind, bytes, int(seq) }
    end
  end
  all[n] = kept
end
return all
