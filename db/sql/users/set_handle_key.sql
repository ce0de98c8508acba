UPDATE users SET handle_key = %(handle_key)s WHERE uuid = %(uuid)s
