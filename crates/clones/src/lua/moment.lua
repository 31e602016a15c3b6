-- A moment before which a provisioner has not been asked yet.
-- KEYS  1 hash tag
return int(moment())
