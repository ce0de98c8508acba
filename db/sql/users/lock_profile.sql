SELECT uuid, handle, display_name, accepts_messages_from, created_at FROM users WHERE uuid = %(uuid)s FOR UPDATE
