-- Extends a lease and stores progress.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 id, 3 step index, 4 token, 5 lease ms, 6 percent or '', 7 message
-- Returns {'ok', '1' when the work should stop, else '0'} | {'lost'}

local i = tonumber(ARGV[3])
local t = leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
call('ZADD', zset('leases', step(t, i)[2]), int(NOW + tonumber(ARGV[5])), member(t, i))
if ARGV[6] ~= '' then
  local f = call('HMGET', t.key, field(i, 'percent'), field(i, 'best'))
  local percent = math.max(tonumber(ARGV[6]), tonumber(f[1]) or 0) -- never back within an attempt
  -- Further than any claim before: what killed those is behind us. At most 100 times, so never a loop.
  if percent > (tonumber(f[2]) or 0) then call('HDEL', t.key, field(i, 'crashes')) end
  call('HSET', t.key, field(i, 'percent'), int(percent))
  if percent ~= t.percent or ARGV[7] ~= t.message then
    say(t, ARGV[7], percent)
    event(t, i)
  end
end
return { 'ok', t.ending ~= '' and '1' or '0' }
