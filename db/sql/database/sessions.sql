SELECT
    pid,
    application_name,
    state,
    date_trunc('second', now() - state_change) AS age,
    left(regexp_replace(query, '\s+', ' ', 'g'), 80) AS query
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
ORDER BY state_change
