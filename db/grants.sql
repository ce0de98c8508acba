-- The rights of the roles of db/roles.sql. bin/db/migrate runs this file after the migrations, as the owner of all tables.
-- cruddur_message_stream only sends notifications, and this needs no right. The triggers of users run with the rights of
-- the role that changes a row.
REVOKE ALL ON ALL TABLES IN SCHEMA public
FROM cruddur_api, cruddur_post_confirmation, cruddur_message_stream, cruddur_maintenance;

-- New users, and the triggers on them
GRANT SELECT, INSERT (handle, handle_key, display_name, email, cognito_user_id, signed_out_at),
    UPDATE (cognito_user_id, signed_out_at)
ON users TO cruddur_api, cruddur_post_confirmation;
GRANT SELECT, DELETE ON reserved_handles TO cruddur_api, cruddur_post_confirmation;
GRANT SELECT ON deleted_users TO cruddur_api, cruddur_post_confirmation;

-- The API: the caller's own profile, first contacts, reports, and readiness
GRANT UPDATE (display_name, accepts_messages_from) ON users TO cruddur_api;
GRANT SELECT, INSERT, UPDATE ON first_contacts TO cruddur_api;
GRANT INSERT (reporter_uuid, reported_user_uuid, message_group_uuid, message_created_at, reason), SELECT (uuid)
ON reports TO cruddur_api;
GRANT SELECT ON schema_migrations TO cruddur_api;

-- Maintenance: names, Cognito ids, who may sign in, and the list of reports
GRANT SELECT, UPDATE (handle, handle_key, display_name, cognito_user_id, disabled_at, signed_out_at)
ON users TO cruddur_maintenance;
GRANT SELECT, INSERT, UPDATE, DELETE ON reserved_handles TO cruddur_maintenance;
GRANT SELECT ON reports TO cruddur_maintenance;
