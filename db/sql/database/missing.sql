-- What the API needs and the database lacks, one row each, such as "column email of users". Readiness reports the rows.
SELECT DISTINCT
    CASE WHEN to_regclass(owner) IS NULL THEN 'table ' || owner ELSE kind || ' ' || needed.name || ' of ' || owner END AS name
FROM (VALUES
    ('column', 'users', 'uuid'),
    ('column', 'users', 'display_name'),
    ('column', 'users', 'handle'),
    ('column', 'users', 'email'),
    ('column', 'users', 'cognito_user_id'),
    ('column', 'users', 'created_at'),
    ('column', 'users', 'handle_key'),
    ('column', 'reserved_handles', 'handle_key'),
    ('column', 'reserved_handles', 'user_uuid'),
    ('column', 'reserved_handles', 'cognito_user_id'),
    ('column', 'reserved_handles', 'reserved_until'),
    ('constraint', 'reserved_handles', 'reserved_handles_pkey'),
    ('constraint', 'users', 'users_pkey'),
    ('constraint', 'users', 'users_handle_key'),
    ('constraint', 'users', 'users_handle_check'),
    ('constraint', 'users', 'users_display_name_check'),
    ('constraint', 'users', 'users_cognito_user_id_key'),
    ('constraint', 'users', 'users_cognito_user_id_check'),
    ('constraint', 'users', 'users_handle_key_key'),
    ('constraint', 'users', 'users_handle_key_check')
) AS needed (kind, owner, name)
WHERE NOT EXISTS (
    SELECT FROM pg_attribute
    WHERE kind = 'column' AND attrelid = to_regclass(owner) AND attname = needed.name AND NOT attisdropped
    UNION ALL
    SELECT FROM pg_constraint
    WHERE kind = 'constraint' AND conrelid = to_regclass(owner) AND conname = needed.name
)
ORDER BY name
