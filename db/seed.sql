-- The uuids are fixed, because conversations in DynamoDB hold them. They must fit a database that is set up again, too.
INSERT INTO users (uuid, display_name, handle, email) VALUES
    ('76d2f241-a860-4d8b-a8e3-6cd68db75ab9', 'Augustsz', 'Augustsz', 'augustsz@example.com'),
    ('3f0c5b8e-92d1-4c47-9a6e-b1d8f7240c35', 'Bayko', 'bayko', 'bayko@example.com'),
    ('a94d17c6-5e2b-4f80-8c3d-06e7b952f1da', 'Londo Mollari', 'londo', 'londo@example.com')
ON CONFLICT DO NOTHING;
