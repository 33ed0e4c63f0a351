-- Members of a workspace have a role. Those from before were only told of jobs, and become viewers: an admin
-- or an operator says who is more.

alter table members add column role member_role not null default 'viewer';
