-- Deletes a worker's report.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 worker
-- Returns {'ok'}

call('ZREM', KEY.workers, ARGV[2])
call('DEL', KEY_OF.worker[ARGV[2]])
return { 'ok' }
