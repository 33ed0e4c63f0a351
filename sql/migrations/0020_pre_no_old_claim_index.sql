-- no-transaction
-- claim_job looks into jobs_to_choose since 0019.
drop index concurrently if exists jobs_to_claim;
