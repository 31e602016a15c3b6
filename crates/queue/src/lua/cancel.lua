-- Ends a task for its owner: at once when no worker has it.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id
-- Returns {'now'} | {'requested'} | {'finished'} | {'unknown'}

local t = load(ARGV[2])
if not t then return { 'unknown' } end
if FINAL[t.state] then return { 'finished' } end
call('HSET', t.key, 'cancel', '1')
if not t.sound then
  call('ZADD', P .. 'broken', int(NOW), t.id) -- the sweep ends it
  return { 'requested' }
end
if stop(t, 'cancelled') then return { 'now' } end
changed(t)
return { 'requested' }
