-- The function of 0003, with two differences. A row whose names stay is not checked: the exact handle of another user, who
-- gave it up, may be the key of this row's older handle. The error names the handle.
CREATE OR REPLACE FUNCTION reserve_handle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM reserved_handles WHERE reserved_until <= now();
    IF TG_OP = 'UPDATE' AND NEW.handle = OLD.handle AND NEW.handle_key IS NOT DISTINCT FROM OLD.handle_key THEN
        RETURN NULL;
    END IF;
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
            RAISE unique_violation
            USING MESSAGE = format('another user gave up the handle %s within 30 days: nothing was written', NEW.handle);
        END IF;
    END IF;
    RETURN NULL;
END
$$;
