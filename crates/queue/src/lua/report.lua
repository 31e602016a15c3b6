-- A worker says that it lives.
-- KEYS  1 hash tag
-- ARGV  1 keep_secrets ms, 2 worker, 3 report, 4 for how long it is remembered (ms), 5 how many workers at most
-- Returns {'ok'}

call('ZADD', K.workers, NOW_TEXT, ARGV[2])
call('SET', Z.worker[ARGV[2]], ARGV[3], 'PX', ARGV[4])
call('ZREMRANGEBYRANK', K.workers, 0, -1 - tonumber(ARGV[5]))
return { 'ok' }
