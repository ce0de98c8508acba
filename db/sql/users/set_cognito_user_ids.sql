-- A row whose id has changed since it was read stays as it is.
UPDATE users SET cognito_user_id = link.sub
FROM unnest(%(uuids)s::uuid[], %(old_ids)s::text[], %(subs)s::text[]) AS link (uuid, old_id, sub)
WHERE users.uuid = link.uuid AND users.cognito_user_id IS NOT DISTINCT FROM link.old_id
