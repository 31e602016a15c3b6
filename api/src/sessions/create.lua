-- Creates a session.
-- ARGV  2 name of the token, 3 its fingerprint, 4 lifetime in seconds, 5 the most sessions of a token
-- Returns nil

local clock = call('TIME')
local index = index_key(ARGV[2])
call('HSET', KEY, 'name', ARGV[2], 'fingerprint', ARGV[3])
call('EXPIRE', KEY, ARGV[4])
call('ZADD', index, clock[1] .. string.sub('000000' .. clock[2], -6), ARGV[1])
call('EXPIRE', index, ARGV[4])
for _, oldest in ipairs(call('ZRANGE', index, 0, -1 - ARGV[5])) do
  call('DEL', P .. 'session:' .. oldest)
  call('ZREM', index, oldest)
end
return nil
