-- The user with exactly this handle, else the user of whose handle this is another spelling. A reserved spelling is nobody's:
-- its former owner's mail must not reach another user.
SELECT
    uuid, handle, display_name, accepts_messages_from,
    extract(epoch FROM disabled_at)::float8 AS disabled_at, extract(epoch FROM signed_out_at)::float8 AS signed_out_at
FROM users
WHERE handle = %(handle)s
    OR handle_key = %(handle_key)s
        AND NOT EXISTS (SELECT FROM reserved_handles WHERE handle_key = %(handle)s AND reserved_until > now())
ORDER BY handle = %(handle)s DESC LIMIT 1
