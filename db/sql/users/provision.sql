-- The constraints decide, so simultaneous confirmations are safe. If a row has the handle but no Cognito id, the statement
-- links it to the user, provided that Cognito has verified the row's e-mail address for them. If the statement returns no
-- row, it wrote nothing: the handle or the Cognito id is in use.
INSERT INTO users (handle, display_name, email, cognito_user_id)
VALUES (%(handle)s, %(display_name)s, %(email)s, %(cognito_user_id)s)
ON CONFLICT (handle) DO UPDATE SET cognito_user_id = excluded.cognito_user_id
WHERE users.cognito_user_id IS NULL AND users.email = excluded.email AND %(email_verified)s
RETURNING uuid, handle, display_name, created_at = now() AS is_new
