UPDATE users SET disabled_at = NULL WHERE uuid = %(uuid)s RETURNING handle, cognito_user_id
