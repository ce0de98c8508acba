-- The users page by page, whoever comes and goes meanwhile.
SELECT uuid, email, cognito_user_id FROM users WHERE uuid > %(after)s ORDER BY uuid LIMIT %(limit)s
