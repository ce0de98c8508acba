-- With a NULL parameter, the reports about all users. The handles are those of today; NULL if the row is gone.
SELECT
    reports.*,
    reporter.handle AS reporter_handle,
    reported.handle AS reported_handle
FROM reports
LEFT JOIN users AS reporter ON reporter.uuid = reporter_uuid
LEFT JOIN users AS reported ON reported.uuid = reported_user_uuid
WHERE %(reported_user_uuid)s::uuid IS NULL OR reported_user_uuid = %(reported_user_uuid)s::uuid
ORDER BY reports.created_at DESC, reports.uuid
LIMIT %(limit)s
