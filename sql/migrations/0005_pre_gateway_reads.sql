-- What the gateway reads often, each in one round trip: enter the workspace, then read through its
-- row-level security. They run with the caller's rights.

-- A cloud with what is derived and not stored: its latest mill job, and the result of the latest
-- one that succeeded.
create view cloud_details with (security_invoker = true) as
select c.id, c.workspace_id, c.project_id, c.name, c.description, c.properties, c.state,
       c.source_name, c.source_object, c.source_bytes, c.source_crc32c,
       c.version, c.created_at, c.updated_at,
       latest.id as job_id, milled.result as summary
from clouds c
left join lateral (
    select j.id from jobs j
    where j.workspace_id = c.workspace_id and j.cloud_id = c.id and j.kind = 'pointcloud.ingest'
    order by j.created_at desc limit 1) latest on true
left join lateral (
    select j.result from jobs j
    where j.workspace_id = c.workspace_id and j.cloud_id = c.id and j.kind = 'pointcloud.ingest'
      and j.state = 'succeeded'
    order by j.created_at desc limit 1) milled on true;

create function read_cloud(p_workspace uuid, p_id uuid) returns setof cloud_details
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query select * from cloud_details where id = p_id;
end
$$;

create function read_job(p_workspace uuid, p_id uuid) returns setof jobs
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query select * from jobs where id = p_id;
end
$$;

-- What has happened to a job since the event of this sequence, in order. Sequences are given out
-- under the lock on the job's row, so a later commit never has an earlier number.
create function read_job_events(p_workspace uuid, p_job uuid, p_after integer)
returns setof job_events language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query select * from job_events where job_id = p_job and sequence > p_after order by sequence;
end
$$;

-- The products of a cloud: of each name the latest.
create function read_cloud_products(p_workspace uuid, p_cloud uuid) returns setof products
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query
        select distinct on (name) * from products
        where workspace_id = p_workspace and cloud_id = p_cloud
        order by name, created_at desc;
end
$$;

create function read_job_products(p_workspace uuid, p_job uuid) returns setof products
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    return query select * from products where job_id = p_job order by name;
end
$$;
