-- The form in which handles are compared, which lib/users/names.py computes. It is NULL for an older handle that breaks the
-- rule, or that is another spelling of an older one.
ALTER TABLE users ADD COLUMN handle_key text UNIQUE CHECK (char_length(handle_key) BETWEEN 1 AND 255);

-- The names that users gave up: a handle's key, or the exact handle if it had none. For 30 days, only the former owner gets
-- the name again.
CREATE TABLE reserved_handles (
    handle_key      text PRIMARY KEY,
    user_uuid       uuid NOT NULL,
    cognito_user_id text,
    reserved_until  timestamptz NOT NULL DEFAULT now() + interval '30 days'
);

-- A server of the version before writes no key, nor does a person. The key of an ASCII handle is its lower case; for others,
-- bin/db/check writes it.
CREATE FUNCTION write_handle_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.handle_key IS NULL
        OR TG_OP = 'UPDATE' AND NEW.handle <> OLD.handle AND NEW.handle_key IS NOT DISTINCT FROM OLD.handle_key
    THEN
        NEW.handle_key := lower(NEW.handle COLLATE "C");
        IF NEW.handle_key !~ '^[a-z0-9]+([._-][a-z0-9]+)*$' OR replace(NEW.handle_key, '-', '') ~ '^[0-9a-f]{32}$' THEN
            NEW.handle_key := NULL;
        END IF;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write_handle_key BEFORE INSERT OR UPDATE OF handle ON users
FOR EACH ROW EXECUTE FUNCTION write_handle_key();

-- This runs after the row is written: the UNIQUE index has then waited for a rename that frees the name.
CREATE FUNCTION reserve_handle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM reserved_handles WHERE reserved_until <= now();
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND NEW.handle <> OLD.handle THEN
        INSERT INTO reserved_handles (handle_key, user_uuid, cognito_user_id)
        VALUES (coalesce(OLD.handle_key, OLD.handle), OLD.uuid, OLD.cognito_user_id)
        ON CONFLICT (handle_key) DO UPDATE SET
            user_uuid = excluded.user_uuid,
            cognito_user_id = excluded.cognito_user_id,
            reserved_until = excluded.reserved_until;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        DELETE FROM reserved_handles
        WHERE handle_key IN (NEW.handle_key, NEW.handle)
            AND (user_uuid = NEW.uuid OR cognito_user_id = NEW.cognito_user_id);
        IF EXISTS (SELECT FROM reserved_handles WHERE handle_key IN (NEW.handle_key, NEW.handle)) THEN
            RAISE unique_violation USING MESSAGE = 'another user gave up this handle within 30 days';
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER reserve_handle AFTER INSERT OR DELETE OR UPDATE OF handle, handle_key ON users
FOR EACH ROW EXECUTE FUNCTION reserve_handle();
