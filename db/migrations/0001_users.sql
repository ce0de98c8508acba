CREATE TABLE IF NOT EXISTS users (
    uuid            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    display_name    text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 255),
    handle          text NOT NULL UNIQUE CHECK (char_length(handle) BETWEEN 1 AND 255),
    email           text NOT NULL,
    cognito_user_id text UNIQUE CHECK (char_length(cognito_user_id) BETWEEN 1 AND 255),  -- NULL until they sign up
    created_at      timestamptz NOT NULL DEFAULT now()
);
