SELECT
    uuid, handle, display_name, accepts_messages_from,
    extract(epoch FROM disabled_at)::float8 AS disabled_at, extract(epoch FROM signed_out_at)::float8 AS signed_out_at
FROM users WHERE cognito_user_id = %(cognito_user_id)s
