UPDATE users SET signed_out_at = now() WHERE uuid = %(uuid)s RETURNING handle, cognito_user_id
