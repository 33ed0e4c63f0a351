"""What is told about clouds, on `pointmill.events`."""

from typing import ClassVar
from uuid import UUID

from shared.messages.envelope import Message


class CloudStoredV1(Message):
    """A cloud's file is complete in the store."""

    TYPE: ClassVar[str] = "pointmill.cloud.stored.v1"

    cloud_id: UUID
    workspace_id: UUID
    name: str
    source_name: str
    bytes: int
    crc32c: str


MESSAGES: tuple[type[Message], ...] = (CloudStoredV1,)
