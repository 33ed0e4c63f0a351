-- Whom to tell, and what became of it.

create table webhooks (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    url text not null check (length(url) between 1 and 2000),
    secret text not null,  -- signs the deliveries; shown once, when the webhook is made
    disabled_at timestamptz,
    disabled_reason text,
    created_at timestamptz not null default now()
);
create index webhooks_of_a_workspace on webhooks (workspace_id, created_at desc, id desc);

-- pending -> sent | failed; a try takes a lease, so that a notifier killed on the way loses nothing.
create type delivery_state as enum ('pending', 'sent', 'failed');

create table deliveries (
    id uuid primary key default uuid7(),
    workspace_id uuid not null references workspaces on delete cascade,
    event_id uuid not null,
    job_id uuid not null,
    channel text not null check (channel in ('webhook', 'email')),
    recipient text not null,  -- the webhook's id, or the address
    -- What a slow send holds up: the webhook itself, and for all mails the one mail server.
    endpoint text not null generated always as (case channel when 'email' then 'email' else recipient end) stored,
    message jsonb not null,   -- the event that is told
    state delivery_state not null default 'pending',
    tries integer not null default 0,  -- the fence of a try
    next_at timestamptz not null default now(),
    last_error text,
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    unique (event_id, channel, recipient)
);
create index deliveries_to_send on deliveries (endpoint, next_at) where state = 'pending';
create index deliveries_in_order on deliveries (workspace_id, created_at desc, id desc);

alter table webhooks enable row level security;
alter table deliveries enable row level security;
create policy gateway_sees_one_workspace on webhooks for all to gateway using (workspace_id = current_workspace());
create policy gateway_sees_one_workspace on deliveries for select to gateway using (workspace_id = current_workspace());
create policy notifier_sees_all on webhooks for all to notifier using (true);
create policy notifier_sees_all on deliveries for all to notifier using (true);

-- An event that ends a job becomes one delivery per channel and recipient, once, however often its
-- message comes and whether it comes by the broker or by reconciliation. The message is only a
-- hint: what is told is what the row says. True when it was new.
create function plan_deliveries(p_event uuid) returns boolean language plpgsql as $$
declare
    v_event job_events;
begin
    select * into v_event from job_events
    where event_id = p_event and type in ('succeeded', 'failed', 'cancelled');
    if not found then
        return false;
    end if;
    insert into inbox (consumer, source, id)
    values ('notifier', v_event.message ->> 'source', p_event::text)
    on conflict do nothing;
    if not found then
        return false;
    end if;
    insert into deliveries (workspace_id, event_id, job_id, channel, recipient, message)
    select v_event.workspace_id, p_event, v_event.job_id, 'webhook', w.id::text, v_event.message
    from webhooks w where w.workspace_id = v_event.workspace_id and w.disabled_at is null
    union all
    select v_event.workspace_id, p_event, v_event.job_id, 'email', m.email, v_event.message
    from members m where m.workspace_id = v_event.workspace_id and m.notify_by_mail
    on conflict do nothing;
    return true;
end
$$;
