-- Every statement the notifier runs. A delivery is claimed, sent and marked; `tries` is the fence
-- of marking: a try whose lease is over no longer has a say.

-- name: plan_deliveries
-- Make the deliveries of an event that ended a job, once. True when it was new.
select plan_deliveries($1::uuid)

-- name: find_untold
-- Ends older than $1 and younger than $2 seconds that nobody has planned: their message was lost.
select e.event_id from job_events e
where e.type in ('succeeded', 'failed', 'cancelled')
  and e.created_at < now() - make_interval(secs => $1::double precision)
  and e.created_at > now() - make_interval(secs => $2::double precision)
  and not exists (select 1 from inbox i where i.consumer = 'notifier'
                  and i.source = e.message ->> 'source' and i.id = e.event_id::text)
order by e.created_at limit $3::integer

-- name: claim_deliveries
-- Start a try of the oldest due delivery of each endpoint that is not busy, at most $2 of them. A
-- try has a lease of $3 seconds; if it is never marked, it is due again. Endpoints are found by
-- skipping through the index, so that a long backlog of one costs nothing.
with recursive endpoints as (
    (select endpoint from deliveries where state = 'pending' order by endpoint limit 1)
    union all
    select (select d.endpoint from deliveries d
            where d.state = 'pending' and d.endpoint > e.endpoint order by d.endpoint limit 1)
    from endpoints e where e.endpoint is not null
), idle as (
    select endpoint from endpoints
    where endpoint is not null and endpoint <> all ($1::text[])
    order by random()
), due as (
    select d.id from idle cross join lateral (
        select id from deliveries
        where state = 'pending' and endpoint = idle.endpoint and next_at <= now()
        order by next_at limit 1 for update skip locked) d
    limit $2::integer
)
update deliveries d
set tries = d.tries + 1, next_at = now() + make_interval(secs => $3::double precision)
from due where d.id = due.id
returning d.id, d.workspace_id, d.event_id, d.job_id, d.channel, d.recipient, d.endpoint, d.message, d.tries

-- name: mark_sent
-- The receiver has it. No row: another try has the say.
update deliveries set state = 'sent', ended_at = now(), last_error = null
where id = $1::uuid and tries = $2::integer and state = 'pending' returning id

-- name: mark_failed
-- It will not be tried again. No row: another try has the say.
update deliveries set state = 'failed', ended_at = now(), last_error = $3::text
where id = $1::uuid and tries = $2::integer and state = 'pending' returning id

-- name: postpone_delivery
-- The next try comes in $3 seconds. No row: another try has the say.
update deliveries set next_at = now() + make_interval(secs => $3::double precision), last_error = $4::text
where id = $1::uuid and tries = $2::integer and state = 'pending' returning id

-- name: read_webhook
-- Where a webhook is and what it is signed with.
select url, secret, disabled_at, disabled_reason from webhooks where id = $1::uuid

-- name: disable_webhook
-- The receiver has said that it is gone.
update webhooks set disabled_at = now(), disabled_reason = $2::text
where id = $1::uuid and disabled_at is null

-- name: read_facts
-- What a mail about a job ($2) of a workspace ($1) says beyond the event: names, and how long it took.
select w.name as workspace, coalesce(c.source_name, c.name) as cloud_name, c.source_bytes,
    k.title as kind_title,
    (select extract(epoch from max(e.created_at) filter (where e.type in ('succeeded', 'failed', 'cancelled'))
                             - max(e.created_at) filter (where e.type = 'started'))::double precision
     from job_events e where e.job_id = $2::uuid) as seconds
from workspaces w
left join clouds c on c.workspace_id = w.id and c.id = $3::uuid
left join kinds k on k.kind = $4::text
where w.id = $1::uuid

-- name: list_products
-- What a job has made, the largest first.
select name, media_type, bytes from products
where workspace_id = $1::uuid and job_id = $2::uuid order by bytes desc, name

-- name: take_replay
-- The dead letter that has waited longest for this service's handler, held until the transaction ends.
select id, routing_key, sender, coalesce(mended, body) as body, mended is null and body_bytes > length(body) as cut
from dead_letters
where owner = current_user and state = 'replay_asked'
order by last_seen_at, id limit 1 for update skip locked

-- name: end_replay
-- The handler has dealt with it ('replayed') or refused it again ('refused').
select id from move_dead_letter($1, $2, 'service:' || current_user, $3)

-- name: register_instance
-- This process is alive, and says which messages it accepts.
insert into service_instances (instance, service, version, accepts) values ($1, current_user, $2, $3)
on conflict (instance) do update set seen_at = now(), version = excluded.version, accepts = excluded.accepts

-- name: forget_instance
-- This process is leaving.
delete from service_instances where instance = $1
