-- no-transaction
-- Projects in the order they were made.
create index concurrently projects_in_order on projects (workspace_id, created_at desc, id desc);
