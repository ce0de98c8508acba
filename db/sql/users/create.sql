-- The constraints decide, so simultaneous sign-ups are safe. If the statement returns no row, it wrote nothing: the handle or
-- the Cognito id is in use. Tokens from before a deletion of the user stay invalid.
INSERT INTO users (handle, handle_key, display_name, email, cognito_user_id, signed_out_at)
VALUES (
    %(handle)s, %(handle_key)s, %(display_name)s, %(email)s, %(cognito_user_id)s,
    (SELECT deleted_at FROM deleted_users WHERE cognito_user_id = %(cognito_user_id)s)
)
ON CONFLICT DO NOTHING
RETURNING uuid, handle, display_name
