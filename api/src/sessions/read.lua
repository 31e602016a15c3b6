-- The token of a session.
-- Returns {name, fingerprint} | nil

local name, fingerprint = unpack(call('HMGET', KEY, 'name', 'fingerprint'))
if name and fingerprint then return { name, fingerprint } end
return nil
