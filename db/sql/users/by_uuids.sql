SELECT uuid, handle, display_name FROM users WHERE uuid = ANY(%(uuids)s::uuid[])
