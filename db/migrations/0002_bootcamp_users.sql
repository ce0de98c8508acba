-- The bootcamp's own table `users` has no UNIQUE, no CHECK, and times without a zone. Its cognito_user_id is NOT NULL, and
-- 'MOCK' before the sign-up. Early versions have no e-mail addresses. A table of migration 0001 stays as it is.
ALTER TABLE users
    ADD COLUMN IF NOT EXISTS email text,
    ALTER COLUMN uuid SET DEFAULT gen_random_uuid(),
    ALTER COLUMN cognito_user_id DROP NOT NULL;

UPDATE users SET cognito_user_id = NULL WHERE cognito_user_id IN ('MOCK', '');
UPDATE users SET display_name = handle WHERE display_name IS NULL OR display_name = '';

DO $$
DECLARE
    obstacles text;
    command text;
BEGIN
    SELECT string_agg(obstacle, '; ') INTO obstacles FROM (
        SELECT format('the handle %s is in the rows %s', handle, string_agg(uuid::text, ' and ' ORDER BY uuid)) AS obstacle
        FROM users GROUP BY handle HAVING count(*) > 1 AND handle IS NOT NULL
        UNION ALL
        SELECT format('the Cognito id %s is in the rows %s', cognito_user_id, string_agg(uuid::text, ' and ' ORDER BY uuid))
        FROM users GROUP BY cognito_user_id HAVING count(*) > 1 AND cognito_user_id IS NOT NULL
        UNION ALL
        SELECT format('%s is empty or too long in the row %s', key, uuid)
        FROM users, LATERAL (VALUES ('handle', handle), ('display_name', display_name)) AS text_column (key, value)
        WHERE value IS NULL OR char_length(value) NOT BETWEEN 1 AND 255
        UNION ALL
        SELECT format('cognito_user_id is too long in the row %s', uuid)
        FROM users WHERE char_length(cognito_user_id) > 255
        UNION ALL
        SELECT format('email is empty in the row %s', uuid)
        FROM users WHERE email IS NULL
        UNION ALL
        SELECT format('the column %s is NOT NULL without a default, so that nobody could sign up', attname)
        FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attnum > 0 AND attnotnull AND NOT atthasdef AND attidentity = ''
            AND attname NOT IN ('uuid', 'display_name', 'handle', 'email', 'cognito_user_id', 'created_at')
        LIMIT 20
    ) AS list;
    IF obstacles IS NOT NULL THEN
        RAISE EXCEPTION 'correct the table users first: %', obstacles;
    END IF;

    FOR command IN
        -- For a time without a zone, Postgres assumes its own time zone, as it did when it wrote the time.
        SELECT format('ALTER COLUMN %I TYPE %s', name, type)
        FROM (VALUES
            ('display_name', 'text'), ('handle', 'text'), ('email', 'text'), ('cognito_user_id', 'text'),
            ('created_at', 'timestamptz')
        ) AS expected (name, type)
        JOIN pg_attribute ON attrelid = 'users'::regclass AND attname = name
        WHERE atttypid <> type::regtype
        UNION ALL
        SELECT format('ADD CONSTRAINT %I %s', name, definition)
        FROM (VALUES
            ('users_pkey', 'PRIMARY KEY (uuid)'),
            ('users_handle_key', 'UNIQUE (handle)'),
            ('users_cognito_user_id_key', 'UNIQUE (cognito_user_id)'),
            ('users_handle_check', 'CHECK (char_length(handle) BETWEEN 1 AND 255)'),
            ('users_display_name_check', 'CHECK (char_length(display_name) BETWEEN 1 AND 255)'),
            ('users_cognito_user_id_check', 'CHECK (char_length(cognito_user_id) BETWEEN 1 AND 255)')
        ) AS expected (name, definition)
        WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'users'::regclass AND conname = name)
    LOOP
        EXECUTE 'ALTER TABLE users ' || command;
    END LOOP;
END
$$;

UPDATE users SET created_at = now() WHERE created_at IS NULL;
ALTER TABLE users
    ALTER COLUMN display_name SET NOT NULL,
    ALTER COLUMN handle SET NOT NULL,
    ALTER COLUMN email SET NOT NULL,
    ALTER COLUMN created_at SET NOT NULL,
    ALTER COLUMN created_at SET DEFAULT now();
