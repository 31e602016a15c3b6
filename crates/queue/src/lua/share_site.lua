-- A task that has set a site up shares its lock from now on with tasks like it, which only read the site.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 id, 3 step index, 4 token, 5 site, 6 the most tasks that read it at once,
--       7 what the others need to know
-- Returns {'ok'} | {'lost'}

local i, site = tonumber(ARGV[3]), ARGV[5]
local t = load_leased(ARGV[2], i, ARGV[4])
if not t then return { 'lost' } end
confirm_claim(t, i)
flush(t)
local h, key = site_hash(site), t.share[site]
if key and call('HGET', KEY.site_locks, h) == t.id then
  call('HSET', site_share(h), 'key', key, 'since', NOW_TEXT, 'limit', ARGV[6], 'value', ARGV[7],
    'left', left_for_readers(t, site))
  call('SADD', site_readers(h), t.id)
  call('HSET', KEY.site_locks, h, SHARED)
  grant_next(h)
end
return { 'ok' }
