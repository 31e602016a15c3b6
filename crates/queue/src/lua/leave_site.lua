-- A task does not read a site any more. When others do, they undo what is left there; the last one keeps the lock, alone.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 site, 6 '1' when it leaves only if it is the last one, else ''
-- Returns {'last'} | {'left'} | {'others'} (it has not left) | {'stuck'} (nor has it then) | {'lost'}

local i, site = tonumber(ARGV[3]), ARGV[5]
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
local h = site_hash(site)
local readers, answer = site_readers(h), 'left'
if call('HGET', KEY.site_locks, h) == t.id then
  answer = 'last'
elseif call('SISMEMBER', readers, t.id) == 1 then
  if ARGV[6] == '1' and call('SCARD', readers) > 1 then
    answer = wait_until_alone(t, i, h)
  elseif ARGV[6] == '1' or not leave_to_others(t, site) then
    hold_alone(t, h)
    answer = 'last'
  end
end
flush(t)
return { answer }
