INSERT INTO reports (reporter_uuid, reported_user_uuid, message_group_uuid, message_created_at, reason)
VALUES (
    %(reporter_uuid)s, %(reported_user_uuid)s, %(message_group_uuid)s, %(message_created_at)s, %(reason)s
)
RETURNING uuid
