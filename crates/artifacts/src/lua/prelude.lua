-- Shared by the scripts. KEYS[1] is the store's hash tag; all other keys are derived from it.
--   blob:<task>/<name>  packed bytes, expires         meta:<task>  hash: name -> "seq packed bytes kind", expires
--   order  zset of <task>/<name> by seq               total  packed bytes in all        last  the highest seq
--   gone   zset of what was evicted, by seq, bounded
--   counted  hash: <task>/<name> -> "packed owner"    order:<owner>   as `order`, of one owner
--   total_by_owner  zset of owners by their packed bytes
-- seq is a time in µs of Redis' clock, unique and rising: it is both the order of writing and the age.

local P = KEYS[1] .. ':'
local call = redis.call
local CLOCK = call('TIME')
local NOW = CLOCK[1] * 1000000 + CLOCK[2]

local function int(n) return string.format('%.0f', n) end
local other_layout = check_layout(P .. 'layout', function() return { P .. 'order', P .. 'total', P .. 'last' } end, MAY_WRITE)
if other_layout then return other_layout end

local function parse(meta) -- seq, packed, bytes, kind
  local seq, packed, bytes, kind = string.match(meta, '^(%d+) (%d+) (%d+) (.*)$')
  return tonumber(seq), tonumber(packed), bytes, kind
end
