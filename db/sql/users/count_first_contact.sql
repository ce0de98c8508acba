-- Returns no row if the user has begun as many conversations today as the limit allows.
INSERT INTO first_contacts AS counted (user_uuid, day, contacts)
VALUES (%(user_uuid)s, (now() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (user_uuid) DO UPDATE SET
    day = excluded.day,
    contacts = CASE WHEN counted.day < excluded.day THEN 1 ELSE counted.contacts + 1 END
WHERE counted.day < excluded.day OR counted.contacts < %(limit)s
RETURNING contacts
