-- The constraints decide, so simultaneous sign-ups are safe. If the statement returns no row, it wrote nothing: the handle or
-- the Cognito id is in use.
INSERT INTO users (handle, handle_key, display_name, email, cognito_user_id)
VALUES (%(handle)s, %(handle_key)s, %(display_name)s, %(email)s, %(cognito_user_id)s)
ON CONFLICT DO NOTHING
RETURNING uuid, handle, display_name
