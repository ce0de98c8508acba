UPDATE users SET cognito_user_id = pool.sub
FROM unnest(%(handles)s::text[], %(subs)s::text[]) AS pool (handle, sub)
WHERE users.handle = pool.handle AND users.cognito_user_id IS DISTINCT FROM pool.sub
