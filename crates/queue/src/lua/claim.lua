-- Gives a worker the first step that is ready.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 lease ms, 3.. stages
-- Returns {'none'} | {'again'} (a batch of worthless entries was dropped)
--       | {'claimed', id, step index, token, waited ms, attempts, crashes, record}

return claim(ARGV[2], 3)
