SELECT uuid, handle, display_name FROM users WHERE handle = %(handle)s
