"""FastAPI, asyncpg and FastStream: order a job."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from faststream.rabbit import RabbitBroker
from order import AMQP_URL, DATABASE, FIND_KEY, Job, Keys, NewJob, split_key
from stream_jobs import QUEUE

broker = RabbitBroker(AMQP_URL, logger=None)
keys = Keys()


@asynccontextmanager
async def _open(app: FastAPI) -> AsyncIterator[None]:
    async with (
        asyncpg.create_pool(f"postgresql://{DATABASE}", min_size=8, max_size=8) as pool,
        broker,
    ):
        await broker.declare_queue(QUEUE)
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_open)


async def _workspace(pool: asyncpg.Pool, authorization: str) -> UUID:
    workspace = keys.remembered(authorization)
    if workspace is not None:
        return workspace
    key, _ = split_key(authorization)
    row = await pool.fetchrow(f"{FIND_KEY} $1", key)
    if row is None:
        raise HTTPException(401)
    return keys.check(authorization, row["workspace_id"], row["secret_sha256"])


@app.post("/v1/jobs", status_code=202)
async def create_job(
    request: Request, body: NewJob, authorization: Annotated[str, Header()]
) -> Job:
    """Store the job, then tell the workers; the broker confirms."""
    pool = request.app.state.pool
    workspace = await _workspace(pool, authorization)
    job = uuid4()
    row = await pool.fetchrow(
        "insert into jobs (id, workspace_id, kind, params, priority) values ($1, $2, $3, $4, $5) "
        "returning state, created_at",
        job,
        workspace,
        body.kind,
        body.params.model_dump_json(),
        body.priority,
    )
    params = body.params.model_dump()
    await broker.publish({"job_id": str(job), **params}, QUEUE, persist=True)
    return Job(
        id=job,
        kind=body.kind,
        state=row["state"],
        params=params,
        priority=body.priority,
        created_at=row["created_at"],
    )
