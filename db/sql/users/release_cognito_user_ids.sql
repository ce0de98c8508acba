-- Remove each Cognito id that now belongs to another user.
UPDATE users SET cognito_user_id = NULL
FROM unnest(%(handles)s::text[], %(subs)s::text[]) AS pool (handle, sub)
JOIN users AS owner ON owner.handle = pool.handle
WHERE users.cognito_user_id = pool.sub AND users.handle <> pool.handle
