-- The roles of Postgres on AWS, one for each program. bin/db/roles runs this file as the master. db/grants.sql has their rights.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        'cruddur_api', 'cruddur_post_confirmation', 'cruddur_message_stream', 'cruddur_maintenance', 'cruddur_migrations'
    ] LOOP
        IF to_regrole(role) IS NULL THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
        IF to_regrole('rds_iam') IS NOT NULL THEN  -- RDS then accepts a token of IAM, and no password
            EXECUTE format('GRANT rds_iam TO %I', role);
        END IF;
    END LOOP;
END
$$;

-- The master created the roles, so it is an indirect member of rds_iam, and RDS may refuse its password from now on. A direct
-- membership makes this certain.
DO $$
BEGIN
    IF to_regrole('rds_iam') IS NOT NULL THEN
        GRANT rds_iam TO CURRENT_USER;
    END IF;
END
$$;

-- The roles need no temporary tables, which could fill the disk.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

-- The migrations own what they create.
GRANT CREATE ON SCHEMA public TO cruddur_migrations;
