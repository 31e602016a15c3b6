-- A page of clones, newest first.
-- KEYS  1 hash tag
-- ARGV  1 '=' and the owner, or '' for all, 2 name to start after or '', 3 the most clones
-- Returns {name to continue after or '', entry, sealed or '', ...}

local key = ARGV[1] ~= '' and P .. 'of:' .. string.sub(ARGV[1], 2) or P .. 'names'
local from = ARGV[2] ~= '' and '(' .. ARGV[2] or '+'
local most = tonumber(ARGV[3])
local names = call('ZRANGE', key, from, '-', 'BYLEX', 'REV', 'LIMIT', 0, most + 1)
local page = { names[most + 1] and names[most] or '' }
for n = 1, math.min(#names, most) do
  local entry, sealed = unpack(call('HMGET', P .. 'clone:' .. names[n], 'entry', 'sealed'))
  if entry then
    page[#page + 1] = entry
    page[#page + 1] = sealed or ''
  end
end
return page
