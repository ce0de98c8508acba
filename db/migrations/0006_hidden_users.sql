-- CREATE TABLE IF NOT EXISTS in 0001 looks only into the first schema of search_path. If the table of the bootcamp is in a
-- later one, the new table hides it, with all users.
DO $$
DECLARE
    hidden text;
BEGIN
    SELECT string_agg(format('%s.users', nspname), ' and ') INTO hidden
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = 'users' AND nspname = ANY (current_schemas(false)) AND pg_class.oid <> 'users'::regclass;
    IF hidden IS NOT NULL AND NOT EXISTS (SELECT FROM users) THEN
        RAISE EXCEPTION 'the empty table %.users hides %: remove one of the schemas from search_path',
            (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'users'::regclass), hidden;
    END IF;
END
$$;
