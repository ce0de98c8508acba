-- How the database differs from what the API needs, one row each, such as "no column email of users". Readiness reports the
-- rows. The query compares no expression of a DEFAULT or a CHECK and no body of a function: versions of Postgres and of this
-- system write them differently.
SELECT DISTINCT
    CASE
        WHEN to_regclass(owner) IS NULL THEN 'no table ' || owner
        WHEN actual.definition IS NULL THEN 'no ' || part || ' of ' || owner
        ELSE part || ' of ' || owner || ': ' || actual.definition || ' instead of ' || needed.definition
    END AS difference
FROM (VALUES
    ('users', 'column uuid', 'uuid NOT NULL DEFAULT'),
    ('users', 'column display_name', 'text NOT NULL'),
    ('users', 'column handle', 'text NOT NULL'),
    ('users', 'column email', 'text NOT NULL'),
    ('users', 'column cognito_user_id', 'text'),
    ('users', 'column created_at', 'timestamp with time zone NOT NULL DEFAULT'),
    ('users', 'column handle_key', 'text'),
    ('users', 'column accepts_messages_from', 'text NOT NULL DEFAULT'),
    ('users', 'column disabled_at', 'timestamp with time zone'),
    ('users', 'column signed_out_at', 'timestamp with time zone'),
    ('users', 'constraint users_pkey', 'PRIMARY KEY (uuid)'),
    ('users', 'constraint users_handle_key', 'UNIQUE (handle)'),
    ('users', 'constraint users_handle_check', 'CHECK'),
    ('users', 'constraint users_display_name_check', 'CHECK'),
    ('users', 'constraint users_cognito_user_id_key', 'UNIQUE (cognito_user_id)'),
    ('users', 'constraint users_cognito_user_id_check', 'CHECK'),
    ('users', 'constraint users_handle_key_key', 'UNIQUE (handle_key)'),
    ('users', 'constraint users_handle_key_check', 'CHECK'),
    ('users', 'constraint users_accepts_messages_from_check', 'CHECK'),
    ('users', 'trigger write_handle_key', 'enabled'),
    ('users', 'trigger reserve_handle', 'enabled'),
    ('users', 'trigger announce_user', 'enabled'),
    ('reserved_handles', 'column handle_key', 'text NOT NULL'),
    ('reserved_handles', 'column user_uuid', 'uuid NOT NULL'),
    ('reserved_handles', 'column cognito_user_id', 'text'),
    ('reserved_handles', 'column reserved_until', 'timestamp with time zone NOT NULL DEFAULT'),
    ('reserved_handles', 'constraint reserved_handles_pkey', 'PRIMARY KEY (handle_key)'),
    ('deleted_users', 'column cognito_user_id', 'text NOT NULL'),
    ('deleted_users', 'column deleted_at', 'timestamp with time zone NOT NULL DEFAULT'),
    ('deleted_users', 'constraint deleted_users_pkey', 'PRIMARY KEY (cognito_user_id)'),
    ('first_contacts', 'column user_uuid', 'uuid NOT NULL'),
    ('first_contacts', 'column day', 'date NOT NULL'),
    ('first_contacts', 'column contacts', 'integer NOT NULL'),
    ('first_contacts', 'constraint first_contacts_pkey', 'PRIMARY KEY (user_uuid)'),
    ('reports', 'column uuid', 'uuid NOT NULL DEFAULT'),
    ('reports', 'column reporter_uuid', 'uuid NOT NULL'),
    ('reports', 'column reported_user_uuid', 'uuid NOT NULL'),
    ('reports', 'column message_group_uuid', 'uuid NOT NULL'),
    ('reports', 'column message_created_at', 'text'),
    ('reports', 'column reason', 'text NOT NULL'),
    ('reports', 'column created_at', 'timestamp with time zone NOT NULL DEFAULT'),
    ('reports', 'constraint reports_pkey', 'PRIMARY KEY (uuid)'),
    ('reports', 'constraint reports_reason_check', 'CHECK')
) AS needed (owner, part, definition)
LEFT JOIN LATERAL (
    SELECT concat_ws(
        ' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END, CASE WHEN atthasdef THEN 'DEFAULT' END
    ) AS definition
    FROM pg_attribute
    WHERE attrelid = to_regclass(owner) AND 'column ' || attname = part
    UNION ALL
    SELECT CASE contype WHEN 'c' THEN 'CHECK' ELSE pg_get_constraintdef(oid) END
    FROM pg_constraint
    WHERE conrelid = to_regclass(owner) AND 'constraint ' || conname = part
    UNION ALL
    SELECT CASE WHEN tgenabled IN ('O', 'A') THEN 'enabled' ELSE 'disabled' END
    FROM pg_trigger
    WHERE tgrelid = to_regclass(owner) AND 'trigger ' || tgname = part
) AS actual ON true
WHERE actual.definition IS DISTINCT FROM needed.definition
ORDER BY difference
