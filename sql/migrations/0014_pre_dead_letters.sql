-- Messages that nobody could handle (`*.dead`) or nobody was bound to (`pointmill.unrouted`), kept until
-- an operator has mended, replayed or discarded them. Written by the processor's registrar.

-- The moves (`move_dead_letter` and `keep_dead_letter` hold them):
create type dead_letter_state as enum (
    'open',          -- -> replay_asked | discarded
    'replay_asked',  -- -> replayed | open (refused again)
    'replayed',      -- -> open (the same message has died again)
    'discarded'      -- -> open (the same)
);

create table dead_letters (
    id uuid primary key default uuid7(),
    fingerprint bytea not null unique check (length(fingerprint) = 32),  -- of place, sender and whole body
    owner text not null check (owner in ('processor', 'notifier')),      -- whose handler replays it
    queue text not null,           -- where it died
    exchange text not null,
    routing_key text not null,
    sender text,                   -- as the broker has proved it; null: not said
    reason text not null,          -- a code: of the reader that refused it, or the broker's
    detail text not null,
    message_id text,
    headers jsonb not null check (jsonb_typeof(headers) = 'object'),
    body bytea not null check (length(body) <= 65536),                   -- as it came; its beginning, if longer
    body_bytes bigint not null check (body_bytes >= length(body)),
    mended bytea check (length(mended) between 1 and 65536),             -- what a replay takes instead
    state dead_letter_state not null default 'open',
    outcome text,                  -- what the last replay came to
    seen integer not null default 1,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);
create index dead_letters_in_order on dead_letters (first_seen_at desc, id desc);
create index dead_letters_to_replay on dead_letters (owner, last_seen_at) where state = 'replay_asked';

-- Who did what to them, and why. Every version of a mended body is kept.
create table dead_letter_acts (
    id bigint generated always as identity primary key,
    letter_id uuid not null references dead_letters on delete cascade,
    act text not null check (act in ('mended', 'replay_asked', 'replayed', 'refused', 'discarded', 'died_again')),
    by text not null,
    note text not null,
    body bytea,
    at timestamptz not null default now()
);
create index dead_letter_acts_of_one on dead_letter_acts (letter_id, id);

-- The notifier replays its own and sees no other's.
alter table dead_letters enable row level security;
create policy operators_see_all on dead_letters for all to gateway using (true);
create policy processor_sees_all on dead_letters for all to processor using (true);
create policy notifier_sees_its_own on dead_letters for all to notifier using (owner = 'notifier');

-- Keep a dead message. The same again is counted and opened again; the same delivery again (the
-- broker had not heard the acknowledgement) changes nothing. True when it was new.
create function keep_dead_letter(
    p_fingerprint bytea, p_owner text, p_queue text, p_exchange text, p_routing_key text, p_sender text,
    p_reason text, p_detail text, p_message_id text, p_headers jsonb, p_body bytea, p_body_bytes bigint,
    p_redelivered boolean)
returns boolean language plpgsql as $$
declare
    v_letter dead_letters;
begin
    insert into dead_letters (fingerprint, owner, queue, exchange, routing_key, sender, reason, detail, message_id,
                              headers, body, body_bytes)
    values (p_fingerprint, p_owner, p_queue, p_exchange, p_routing_key, p_sender, p_reason, p_detail, p_message_id,
            p_headers, p_body, p_body_bytes)
    on conflict (fingerprint) do nothing;
    if found then
        return true;
    end if;
    if p_redelivered then
        return false;
    end if;
    select * into v_letter from dead_letters where fingerprint = p_fingerprint for update;
    if v_letter.state in ('replayed', 'discarded') then
        insert into dead_letter_acts (letter_id, act, by, note)
        values (v_letter.id, 'died_again', 'service:processor', p_reason);
    end if;
    update dead_letters
    set seen = seen + 1, last_seen_at = now(), reason = p_reason, detail = p_detail, headers = p_headers,
        state = case when state = 'replay_asked' then state else 'open' end
    where id = v_letter.id;
    return false;
end
$$;

-- One move of a dead letter, written down. No row: it is unknown, or in no state for this.
create function move_dead_letter(p_id uuid, p_act text, p_by text, p_note text, p_body bytea default null)
returns setof dead_letters language plpgsql as $$
declare
    v_letter dead_letters;
begin
    select * into v_letter from dead_letters where id = p_id for update;
    if not found or v_letter.state <> (case when p_act in ('replayed', 'refused') then 'replay_asked' else 'open' end)::dead_letter_state
    then
        return;
    end if;
    update dead_letters
    set state = (case when p_act in ('replay_asked', 'replayed', 'discarded') then p_act else 'open' end)::dead_letter_state,
        mended = coalesce(p_body, mended),
        outcome = case when p_act in ('replayed', 'refused') then p_note else outcome end
    where id = p_id
    returning * into v_letter;
    insert into dead_letter_acts (letter_id, act, by, note, body) values (p_id, p_act, p_by, p_note, p_body);
    return next v_letter;
end
$$;
