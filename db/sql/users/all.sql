SELECT uuid, handle, handle_key, display_name, email, cognito_user_id FROM users ORDER BY handle
