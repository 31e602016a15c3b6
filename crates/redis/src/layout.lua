-- Checks the layout number of a keyspace (layout.rs) in the key `key`. It is written when it is missing, `may_write` is
-- set, and none of the keys that `sentinels` returns exists. Returns an error reply for another layout, else nil.
local function check_layout(key, sentinels, may_write)
  local found = redis.call('GET', key)
  if found == LAYOUT then return nil end
  if not found then
    if redis.call('EXISTS', unpack(sentinels())) == 0 then
      if may_write then redis.call('SET', key, LAYOUT) end
      return nil
    end
    found = 'none'
  end
  return redis.error_reply('LAYOUT ' .. found)
end
