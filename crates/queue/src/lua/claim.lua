-- Claims the first ready step of some stages.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 lease ms, 3 nonce of the claim, 4 '1' when it may have been executed before, else '',
--       5.. stages
-- Returns {'none'} | {'again'} (a batch of unusable entries was skipped)
--       | {'claimed', id, step index, token, waited ms, attempts, crashes, record, replays, outputs of earlier steps...}

return ARGV[4] == '1' and repeat_claim(ARGV[2], ARGV[3], 5) or claim(ARGV[2], ARGV[3], 5)
