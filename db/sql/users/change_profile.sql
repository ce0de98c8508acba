-- A NULL parameter keeps the old value.
UPDATE users SET
    display_name = coalesce(%(display_name)s, display_name),
    accepts_messages_from = coalesce(%(accepts_messages_from)s, accepts_messages_from)
WHERE uuid = %(uuid)s
RETURNING uuid, handle, display_name, accepts_messages_from, created_at, cognito_user_id
