-- A NULL parameter keeps the old name.
UPDATE users SET
    handle = coalesce(%(new_handle)s, handle),
    display_name = coalesce(%(display_name)s, display_name)
WHERE handle = %(handle)s
RETURNING uuid, handle, display_name, cognito_user_id
