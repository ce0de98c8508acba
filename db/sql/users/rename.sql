UPDATE users SET handle = %(to)s, display_name = %(display_name)s
WHERE handle = %(handle)s
RETURNING uuid, handle, display_name, cognito_user_id
