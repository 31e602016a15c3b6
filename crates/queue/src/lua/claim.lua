-- Claims the first ready step of some stages.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 lease ms, 3.. stages
-- Returns {'none'} | {'again'} (a batch of unusable entries was skipped)
--       | {'claimed', id, step index, token, waited ms, attempts, crashes, record, replays, outputs of earlier steps...}

return claim(ARGV[2], 3)
