"""What makes the processors faster; losing any of it changes nothing but the time."""

from typing import ClassVar
from uuid import UUID

from shared.messages.envelope import Message


class WorkAvailableV1(Message):
    """A doorbell: there is something to claim in this pool. The job named is only a hint."""

    TYPE: ClassVar[str] = "pointmill.work.available.v1"

    job_id: UUID
    kind: str
    pool: str


class CancelAskedV1(Message):
    """Look at this job now: somebody has asked to cancel it. The row is the truth."""

    TYPE: ClassVar[str] = "pointmill.control.cancel.v1"

    job_id: UUID


MESSAGES: tuple[type[Message], ...] = (WorkAvailableV1, CancelAskedV1)
