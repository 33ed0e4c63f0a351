"""Every PROCESSOR_* variable, read once."""

import os
import tempfile
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.processor.sandbox import Level

GIBIBYTE = 1 << 30


class Settings(BaseSettings):
    """The processor's settings.

    Attributes:
        database_url: PostgreSQL, under the role `processor`.
        amqp_url: RabbitMQ, under the user `processor`.
        storage_url: `file:///folder` or `gs://bucket/prefix`, the same as the gateway's.
        host: where health and metrics are served.
        port: where health and metrics are served.
        slots: how many jobs run at the same time.
        light_slots: how many batches of light jobs run beside them at the same time.
        workers: how many processes one job may keep busy.
        memory: bytes one job should stay within, all its processes together.
        memory_factor: an attempt whose processes hold this many times `memory` is stopped.
        scratch: folder for the files of running jobs.
        scratch_bytes: disk space one job may take; never more than nine tenths of what is free.
        sandbox_required: the least level of the sandbox; the processor does not start below it.
        lease_seconds: how long a silent worker keeps its job.
        heartbeat_seconds: how often the lease is renewed.
        poll_seconds: how long a job may wait when its doorbell was lost.
        drain_seconds: how long running jobs may go on after SIGTERM.
        orphan_hours: age at which an object that no row names is deleted.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    model_config = SettingsConfigDict(env_prefix="PROCESSOR_", frozen=True)

    database_url: SecretStr
    amqp_url: SecretStr
    storage_url: str
    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=0, le=65535)
    slots: int = Field(default=1, ge=0, le=64)
    light_slots: int = Field(default=2, ge=0, le=16)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    memory: int = Field(default=GIBIBYTE, ge=256 << 20)
    memory_factor: float = Field(default=2, ge=1)
    scratch: Path = Field(default_factory=lambda: Path(tempfile.gettempdir()) / "pointmill-scratch")
    scratch_bytes: int = Field(default=256 * GIBIBYTE, ge=1 << 20)
    sandbox_required: Level = "rlimits"
    lease_seconds: float = Field(default=15, gt=0)
    heartbeat_seconds: float = Field(default=5, gt=0)
    poll_seconds: float = Field(default=2, gt=0)
    drain_seconds: float = Field(default=20, ge=0)
    orphan_hours: float = Field(default=24, gt=0)
    log_level: str = "INFO"
