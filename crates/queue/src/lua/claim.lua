-- Gives a worker the first step that is ready.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 worker, 3 lease ms, 4.. stages
-- Returns {'none'} | {'again'} (a batch of worthless entries was dropped)
--       | {'claimed', id, step index, token, stage, name, waited ms, attempts, crashes, created ms,
--          request, owner, traceparent, sealed secrets or ''}

return claim(ARGV[2], ARGV[3], 4)
