-- The constraints decide, so that confirmations at the same time cannot go wrong. A row of that handle that waits for
-- its user becomes theirs if the e-mail, which Cognito has verified, is the row's. Without a row in the answer nothing
-- was written: handle or Cognito id are in use.
INSERT INTO users (handle, display_name, email, cognito_user_id)
VALUES (%(handle)s, %(display_name)s, %(email)s, %(cognito_user_id)s)
ON CONFLICT (handle) DO UPDATE SET cognito_user_id = excluded.cognito_user_id
WHERE users.cognito_user_id IS NULL AND users.email = excluded.email AND %(email_verified)s
RETURNING uuid, handle, display_name, created_at = now() AS is_new
