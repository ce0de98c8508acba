-- One page of users. Users who come or go between two pages do not shift the others.
SELECT uuid, email, cognito_user_id FROM users WHERE uuid > %(after)s ORDER BY uuid LIMIT %(limit)s
