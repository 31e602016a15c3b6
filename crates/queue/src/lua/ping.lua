-- Only checks the layout.
-- KEYS  1 hash tag
-- Returns {'ok'}

return { 'ok' }
