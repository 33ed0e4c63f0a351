"""FastAPI, SQLAlchemy and Celery: order a job. Handlers run in the thread pool, as both are blocking."""

from typing import Annotated
from uuid import UUID, uuid4

from celery_jobs import demo_print, engine, jobs
from fastapi import FastAPI, Header, HTTPException
from order import FIND_KEY, Job, Keys, NewJob, split_key
from sqlalchemy import text

app = FastAPI()
keys = Keys()


def _workspace(authorization: str) -> UUID:
    workspace = keys.remembered(authorization)
    if workspace is not None:
        return workspace
    key, _ = split_key(authorization)
    with engine.connect() as connection:
        row = connection.execute(text(f"{FIND_KEY} :key"), {"key": key}).first()
    if row is None:
        raise HTTPException(401)
    return keys.check(authorization, row.workspace_id, row.secret_sha256)


@app.post("/v1/jobs", status_code=202)
def create_job(body: NewJob, authorization: Annotated[str, Header()]) -> Job:
    """Store the job, then tell the workers."""
    workspace = _workspace(authorization)
    made = jobs.insert().values(
        id=uuid4(),
        workspace_id=workspace,
        kind=body.kind,
        params=body.params.model_dump(),
        priority=body.priority,
    )
    with engine.begin() as connection:
        row = connection.execute(made.returning(jobs)).one()
    demo_print.delay(str(row.id), body.params.first, body.params.second)
    return Job.model_validate(row, from_attributes=True)
