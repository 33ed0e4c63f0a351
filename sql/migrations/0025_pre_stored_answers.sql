-- A key of any creating request keeps its answer, not only the job that was made. Rows that the
-- gateway before made have a job and no answer: to a newer one they stand for another request.
alter table idempotency_keys
    alter column job_id drop not null,
    add column status smallint,
    add column headers jsonb,
    add column answer bytea,
    add constraint idempotency_keys_answered check (job_id is not null or (status is not null and headers is not null
                                                                           and answer is not null)) not valid;
alter table idempotency_keys validate constraint idempotency_keys_answered;

-- Take a key for this transaction: `taken` is false while another holds it; the rest is what a request
-- that has ended has left under it.
create function take_idempotency_key(p_workspace uuid, p_principal text, p_route text, p_key text)
returns table (taken boolean, fingerprint bytea, status smallint, headers jsonb, answer bytea)
language plpgsql as $$
begin
    perform enter_workspace(p_workspace);
    if not pg_try_advisory_xact_lock(
            hashtextextended(concat_ws(E'\n', p_workspace, p_principal, p_route, p_key), 0)) then
        return query select false, null::bytea, null::smallint, null::jsonb, null::bytea;
        return;
    end if;
    return query
        select true, k.fingerprint, k.status, k.headers, k.answer
        from (select true) one
        left join idempotency_keys k
            on k.workspace_id = p_workspace and k.principal = p_principal and k.route = p_route and k.key = p_key;
end
$$;
