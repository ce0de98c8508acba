SELECT cognito_user_id FROM users WHERE uuid = %(uuid)s
