-- Stores a worker's report.
-- KEYS  1 hash tag
-- ARGV  1 secrets_retention ms, 2 worker, 3 report, 4 how long it is kept (ms), 5 the most workers
-- Returns {'ok'}

call('ZADD', KEY.workers, NOW_TEXT, ARGV[2])
call('SET', KEY_OF.worker[ARGV[2]], ARGV[3], 'PX', ARGV[4])
call('ZREMRANGEBYRANK', KEY.workers, 0, -1 - tonumber(ARGV[5]))
return { 'ok' }
