-- While a job was tried again, its row still said what to do of the attempt that had failed ("Retry the job").
-- The attempt keeps its own error; the job says what holds for the job.
create or replace function end_attempt(
    p_job jobs, p_outcome text, p_error jsonb, p_retryable boolean, p_log_tail text)
returns job_state language plpgsql as $$
declare
    v_kind kinds;
    v_job jobs;
    v_pause double precision;
    v_error jsonb := p_error;
    v_again boolean;
begin
    select * into v_kind from kinds where kind = p_job.kind;
    v_again := (p_retryable or coalesce(p_error ->> 'code' = any (v_kind.retry_codes), false))
        and not coalesce(p_error ->> 'code' = any (v_kind.no_retry_codes), false)
        and p_job.failures + 1 < p_job.max_failures;
    if v_again and p_job.end_by < now() then
        v_again := false;
        v_error := out_of_time(p_job, p_error ->> 'code');
    end if;
    if v_again and p_job.cancel_requested_at is null then
        v_error := p_error || jsonb_build_object('remedy', 'Nothing needs to be done: it is tried again by itself.');
    end if;
    if p_job.cancel_requested_at is not null then
        update jobs set state = 'cancelled', progress = null, lease_owner = null, lease_until = null,
                        claim_token = null, ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = 'cancelled', error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'cancelled');
    elsif v_again then
        -- Full jitter over the second half of the pause, so that a fleet does not come back in step.
        v_pause := least(p_job.backoff_seconds * power(2, p_job.failures), 3600) * (0.5 + random() / 2);
        update jobs set state = 'queued', failures = failures + 1, error = v_error, progress = null,
                        available_at = now() + make_interval(secs => v_pause),
                        start_by = greatest(start_by, now() + make_interval(secs => v_pause + 3600)),
                        lease_owner = null, lease_until = null, claim_token = null, sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = p_outcome, error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'retry_scheduled',
                         jsonb_build_object('error', v_error, 'available_at', v_job.available_at));
        perform ring_for(v_job);
    else
        update jobs set state = 'failed', failures = failures + 1, error = v_error, progress = null,
                        lease_owner = null, lease_until = null, claim_token = null,
                        ended_at = now(), sequence = sequence + 1
        where id = p_job.id returning * into v_job;
        update attempts set ended_at = now(), outcome = case when p_outcome = 'lost' then 'lost' else 'failed' end,
                            error = p_error, log_tail = p_log_tail
        where job_id = p_job.id and attempt = p_job.attempt;
        perform tell_job(v_job, 'failed', jsonb_build_object('error', v_error));
    end if;
    return v_job.state;
end
$$;
