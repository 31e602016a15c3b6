-- The registry's time.
-- KEYS  1 hash tag
return int(registry_time())
