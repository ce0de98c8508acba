SELECT name FROM unnest(%(names)s::text[]) AS name
WHERE name NOT IN (SELECT name FROM schema_migrations)
ORDER BY name
