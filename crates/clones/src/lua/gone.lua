-- A clone is gone.
-- KEYS  1 hash tag
-- ARGV  1 name, 2 how many gone ones are remembered
-- Returns 1 when it was there, else 0

return to_gone(ARGV[1], moment(), tonumber(ARGV[2])) and 1 or 0
