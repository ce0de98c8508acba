UPDATE users SET disabled_at = coalesce(disabled_at, now()), signed_out_at = now() WHERE uuid = %(uuid)s
RETURNING handle, cognito_user_id
