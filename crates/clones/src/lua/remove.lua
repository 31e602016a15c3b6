-- A clone was deleted.
-- KEYS  1 hash tag
-- ARGV  1 name, 2 how many deleted clones are remembered
-- Returns 1 when it was there, else 0

return mark_gone(ARGV[1], registry_time(), tonumber(ARGV[2])) and 1 or 0
