"""What every rival does alike: the form of an order, and who may give it."""

import hashlib
import hmac
import os
import re
import time
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

DATABASE = os.environ["BENCH_DATABASE_URL"].partition("://")[2]
AMQP_URL = os.environ["BENCH_AMQP_URL"]
FIND_KEY = "select workspace_id, secret_sha256 from api_keys where revoked_at is null and id = "

_KEY = re.compile(r"Bearer pm_([0-9a-f]{8})_([0-9a-f]{48})")
_REMEMBERED_SECONDS = 5.0


class Params(BaseModel):
    """What to print."""

    model_config = ConfigDict(extra="forbid")

    first: str = Field(default="hello", max_length=1000)
    second: str = Field(default="world", max_length=1000)


class NewJob(BaseModel):
    """A job to be done."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["demo.print"]
    params: Params = Field(default_factory=Params)
    priority: int = Field(default=0, ge=-100, le=100)


class Job(BaseModel):
    """The job as it was accepted."""

    id: UUID
    kind: str
    state: str
    params: dict[str, Any]
    priority: int
    created_at: datetime


class Keys:
    """API keys: found in the database by id, compared by hash, remembered for as long as ours are."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, UUID]] = {}

    def remembered(self, authorization: str) -> UUID | None:
        """The workspace of a key that was right a moment ago."""
        known = self._known.get(authorization)
        return known[1] if known is not None and known[0] > time.monotonic() else None

    def check(self, authorization: str, workspace: UUID, secret_sha256: bytes) -> UUID:
        """The workspace, if the secret is the one whose hash is stored."""
        _, secret = split_key(authorization)
        if not hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), secret_sha256):
            raise HTTPException(401)
        self._known[authorization] = (time.monotonic() + _REMEMBERED_SECONDS, workspace)
        return workspace


def split_key(authorization: str) -> tuple[str, str]:
    """Id and secret of the key in an Authorization header."""
    match = _KEY.fullmatch(authorization)
    if match is None:
        raise HTTPException(401)
    return match[1], match[2]
