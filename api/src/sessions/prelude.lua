-- Shared by the scripts. KEYS[1] is the queue's hash tag; sessions lie beside the queue's keys and have its layout number.
-- ARGV[1] is the hash of the session's id. `session:<hash>` is a session, `session:by-token:<name>` its token's sessions by
-- creation time. A queue that has stored nothing has no number.

local P = KEYS[1] .. ':'
local call = redis.call
local other_layout = check_layout(P .. 'layout', function() return { P .. 'layout' } end, false)
if other_layout then return other_layout end

local KEY = P .. 'session:' .. ARGV[1]
local function index_key(name) return P .. 'session:by-token:' .. name end
