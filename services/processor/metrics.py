"""Everything the processor measures, declared once."""

from prometheus_client import Counter, Gauge, Histogram

JOBS_ENDED = Counter("pointmill_attempts_total", "Attempts that have ended", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "pointmill_attempt_seconds",
    "Wall time of an attempt, from the claim to its end",
    ["kind"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000),
)
JOBS_RUNNING = Gauge("pointmill_jobs_running", "Jobs that run in this process")
LEASES_LOST = Counter(
    "pointmill_leases_lost_total", "Attempts stopped because another owns the job"
)
JOBS_REAPED = Counter("pointmill_jobs_reaped_total", "Jobs taken from a silent worker")
OBJECTS_COLLECTED = Counter(
    "pointmill_objects_collected_total", "Objects deleted that no row named"
)
OUTBOX_RELAYED = Counter("pointmill_outbox_relayed_total", "Messages confirmed by the broker")
REQUESTS = Counter("pointmill_requests_total", "Job requests of other services", ["answer"])
DEAD_LETTERS = Counter("pointmill_dead_letters_total", "Messages that died, by reason", ["reason"])
SCHEDULES_RUN = Counter(
    "pointmill_schedules_run_total", "Planned times of schedules that came, by outcome", ["outcome"]
)
SANDBOX_LEVEL = Gauge("pointmill_sandbox_level", "The sandbox that this machine offers", ["level"])
ATTEMPTS_SANDBOXED = Counter(
    "pointmill_attempts_sandboxed_total",
    "Attempts by the level that their sandbox reached",
    ["level"],
)
ATTEMPTS_STOPPED = Counter(
    "pointmill_attempts_stopped_total",
    "Attempts stopped over what they took as a whole",
    ["reason"],
)
