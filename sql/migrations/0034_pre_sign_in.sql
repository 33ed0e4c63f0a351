-- People who sign in at an OpenID provider, and their sessions in browsers. Neither belongs to a workspace:
-- no service reads these tables, and the functions below are all that the gateway may do with them.

create table users (
    id uuid primary key default uuid7(),
    -- Who a person is: the provider's name for itself, and for the person. An address may change hands.
    issuer text not null check (length(issuer) <= 2000),
    subject text not null check (length(subject) between 1 and 255),
    email text check (length(email) <= 254),  -- as the provider has verified it
    name text not null default '' check (length(name) <= 200),
    created_at timestamptz not null default now(),
    unique (issuer, subject)
);

-- Whom a member turned out to be when somebody first signed in with the address.
alter table members add column user_id uuid references users;
create unique index members_are_one_user on members (workspace_id, user_id) where user_id is not null;
create index members_of_a_user on members (user_id) where user_id is not null;
create index members_to_come on members (lower(email)) where user_id is null;

create table sessions (
    id_sha256 bytea primary key check (length(id_sha256) = 32),
    user_id uuid not null references users on delete cascade,
    looks_at uuid references workspaces on delete set null,  -- one of the user's workspaces
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_to_sweep on sessions (expires_at);

alter table users enable row level security;
alter table sessions enable row level security;

-- A person and the workspaces they belong to; one row of nulls besides where they belong to none.
create function read_person(p_user uuid)
returns table (user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role member_role)
language sql stable security definer set search_path = public, pg_temp as $$
    select u.id, u.email, u.name, w.id, w.name, m.role
    from users u left join members m on m.user_id = u.id left join workspaces w on w.id = m.workspace_id
    where u.id = p_user
    order by m.created_at, m.id
$$;

-- Somebody has signed in. Whoever comes with the verified address (null: none) of a member whom nobody has
-- turned out to be yet is that member, from then on whatever the address.
create function sign_in(p_issuer text, p_subject text, p_email text, p_name text)
returns table (user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role member_role)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
#variable_conflict use_column
declare
    v_user users;
begin
    select * into v_user from users where issuer = p_issuer and subject = p_subject;
    if not found or (v_user.email, v_user.name) is distinct from (p_email, p_name) then
        insert into users (issuer, subject, email, name) values (p_issuer, p_subject, p_email, p_name)
        on conflict (issuer, subject) do update set email = excluded.email, name = excluded.name
        returning * into v_user;
    end if;
    update members m set user_id = v_user.id
    where m.user_id is null and lower(m.email) = lower(p_email)
      and not exists (select from members o where o.workspace_id = m.workspace_id and o.user_id = v_user.id);
    return query select * from read_person(v_user.id);
end
$$;

-- A session begins, seen through a workspace; those that have expired are swept on the way.
create function open_session(p_sha256 bytea, p_user uuid, p_workspace uuid, p_seconds double precision) returns void
language sql volatile security definer set search_path = public, pg_temp as $$
    delete from sessions
    where id_sha256 in (select id_sha256 from sessions where expires_at < now() limit 100 for update skip locked);
    insert into sessions (id_sha256, user_id, looks_at, expires_at)
    values (p_sha256, p_user, p_workspace, now() + make_interval(secs => p_seconds));
$$;

-- Whose session it is, while it lasts.
create function find_session(p_sha256 bytea)
returns table (user_id uuid, email text, user_name text, workspace_id uuid, workspace_name text, role member_role,
               chosen uuid, expires_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
    select p.*, s.looks_at, s.expires_at
    from sessions s, read_person(s.user_id) p
    where s.id_sha256 = p_sha256 and s.expires_at > now()
$$;

-- Look at another workspace. Whether the session's user belongs to it.
create function choose_workspace(p_sha256 bytea, p_workspace uuid) returns boolean
language sql volatile security definer set search_path = public, pg_temp as $$
    with chosen as (
        update sessions s set looks_at = p_workspace
        where s.id_sha256 = p_sha256 and s.expires_at > now()
          and exists (select from members m where m.user_id = s.user_id and m.workspace_id = p_workspace)
        returning 1)
    select exists (select from chosen)
$$;

-- A session ends.
create function close_session(p_sha256 bytea) returns void
language sql volatile security definer set search_path = public, pg_temp as $$
    delete from sessions where id_sha256 = p_sha256
$$;
