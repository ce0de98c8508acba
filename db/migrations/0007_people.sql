-- Whose messages a user accepts, and since when the server refuses the user's tokens.
ALTER TABLE users
    ADD COLUMN accepts_messages_from text NOT NULL DEFAULT 'everybody'
        CONSTRAINT users_accepts_messages_from_check CHECK (accepts_messages_from IN ('everybody', 'known', 'nobody')),
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN signed_out_at timestamptz;

-- A token that is older than its user's deletion gives the user no new row.
CREATE TABLE deleted_users (
    cognito_user_id text PRIMARY KEY,
    deleted_at      timestamptz NOT NULL DEFAULT now()
);

-- How many conversations a user began on the last day, in UTC, on which they began one.
CREATE TABLE first_contacts (
    user_uuid uuid PRIMARY KEY,
    day       date NOT NULL,
    contacts  integer NOT NULL
);

-- What users reported, by ids: the text of a message stays in DynamoDB. Without message_created_at, the report is about the
-- conversation.
CREATE TABLE reports (
    uuid               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    reporter_uuid      uuid NOT NULL,
    reported_user_uuid uuid NOT NULL,
    message_group_uuid uuid NOT NULL,
    message_created_at text,
    reason             text NOT NULL CONSTRAINT reports_reason_check CHECK (char_length(reason) BETWEEN 1 AND 1024),
    created_at         timestamptz NOT NULL DEFAULT now()
);

-- The processes that listen drop their copies of a changed user, also after a change by hand (lib/live/postgres.py).
CREATE FUNCTION announce_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.cognito_user_id IS NOT NULL THEN
        INSERT INTO deleted_users (cognito_user_id) VALUES (OLD.cognito_user_id)
        ON CONFLICT (cognito_user_id) DO UPDATE SET deleted_at = excluded.deleted_at;
    END IF;
    PERFORM pg_notify('cruddur_live', json_build_array('postgres', json_build_array(
        json_build_array('user', json_build_array(OLD.uuid), json_build_object('cognito_user_id', OLD.cognito_user_id))
    ))::text);
    RETURN NULL;
END
$$;

CREATE TRIGGER announce_user AFTER UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION announce_user();
