-- Claims the first ready step of the owner whose turn it is in some stages.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 lease ms, 3 nonce of the claim, 4 '1' when it may have been executed before, else '',
--       5 an owner whose steps are not claimed, or '', 6.. stages
-- Returns {'none'} | {'again'} (a batch of unusable entries was skipped)
--       | {'claimed', id, step index, token, waited ms, attempts, crashes, record, replays, outputs of earlier steps,
--          checkpoints, and the kept session, as pairs...}

return ARGV[4] == '1' and repeat_claim(ARGV[2], ARGV[3], 6) or claim(ARGV[2], ARGV[3], ARGV[5], 6)
