SELECT extract(epoch FROM deleted_at)::float8 AS deleted_at FROM deleted_users WHERE cognito_user_id = %(cognito_user_id)s
