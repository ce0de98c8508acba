UPDATE users SET cognito_user_id = NULL WHERE cognito_user_id = %(sub)s
