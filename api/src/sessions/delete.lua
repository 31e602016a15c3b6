-- Deletes a session.
-- Returns nil

local name = call('HGET', KEY, 'name')
if name then call('ZREM', index_key(name), ARGV[1]) end
call('DEL', KEY)
return nil
