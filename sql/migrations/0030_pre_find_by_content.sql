-- Which clouds and projects of the workspace contain a JSON object. They run with the owner's rights and
-- name the workspace themselves: under row-level security the planner may not use an index for `@>`,
-- whose errors could tell of rows that are not the caller's.

create function clouds_that_contain(p_properties jsonb) returns setof uuid
language sql stable security definer set search_path = public, pg_temp as $$
    select id from clouds where workspace_id = current_workspace() and properties @> p_properties
$$;

create function projects_that_contain(p_config jsonb) returns setof uuid
language sql stable security definer set search_path = public, pg_temp as $$
    select id from projects where workspace_id = current_workspace() and config @> p_config
$$;
