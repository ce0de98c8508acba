-- The waiting row with exactly this handle, else the one of whose handle this is another spelling.
-- Tokens from before a deletion of the user stay invalid.
UPDATE users SET
    cognito_user_id = %(cognito_user_id)s,
    signed_out_at = greatest(
        signed_out_at, (SELECT deleted_at FROM deleted_users WHERE cognito_user_id = %(cognito_user_id)s)
    )
WHERE cognito_user_id IS NULL AND email = %(email)s
    AND (handle = %(handle)s
        OR handle_key = %(handle_key)s AND NOT EXISTS (SELECT FROM users WHERE handle = %(handle)s))
RETURNING uuid, handle, display_name
