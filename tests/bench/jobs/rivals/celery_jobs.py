"""The Celery application: plain and quick, or (BENCH_SAFE=1) made safe."""

import os

from celery import Celery
from kombu import Queue
from order import AMQP_URL, DATABASE
from sqlalchemy import (
    Column,
    DateTime,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    create_engine,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

SAFE = os.environ.get("BENCH_SAFE") == "1"
QUEUE = "celery-safe" if SAFE else "celery"

jobs = Table(
    "jobs",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("workspace_id", Uuid),
    Column("kind", Text),
    Column("params", JSONB),
    Column("priority", SmallInteger),
    Column("state", Text, server_default="queued"),
    Column("result", JSONB),
    Column("created_at", DateTime(timezone=True), server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
)
engine = create_engine(f"postgresql+psycopg://{DATABASE}", pool_size=8, max_overflow=0)

app = Celery("rival", broker=AMQP_URL)
app.conf.update(
    task_ignore_result=True,
    task_default_queue=QUEUE,
    task_acks_late=SAFE,
    task_reject_on_worker_lost=SAFE,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=8,
)
if SAFE:
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        task_queues=[Queue(QUEUE, queue_arguments={"x-queue-type": "quorum"})],
        worker_detect_quorum_queues=True,
    )


@app.task(name="demo.print")
def demo_print(job_id: str, first: str, second: str) -> None:
    """Print both words; mark the job's row as done."""
    line = f"{first} {second}"
    ended = jobs.update().where(jobs.c.id == job_id, jobs.c.state == "queued")
    with engine.begin() as connection:
        connection.execute(
            ended.values(state="succeeded", result={"printed": line}, ended_at=func.now())
        )
