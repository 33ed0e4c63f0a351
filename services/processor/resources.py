"""What lives as long as the processor does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from services.processor.forks import Forks
from services.processor.lease import Lease
from services.processor.settings import Settings
from services.processor.task import Task
from shared.bus import Bus
from shared.db import Database
from shared.failpoints import Failpoints
from shared.objects import ObjectStore
from shared.outbox import Relay
from shared.process import Supervisor


@dataclass(frozen=True)
class Processor:
    """The processor's resources; `running` holds the lease of every job that runs here."""

    settings: Settings
    instance: str
    tasks: Mapping[str, Task]
    database: Database
    bus: Bus
    objects: ObjectStore
    relay: Relay
    failpoints: Failpoints
    forks: Forks
    supervisor: Supervisor
    running: dict[UUID, Lease] = field(default_factory=dict)
