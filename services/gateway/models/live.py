"""What is said over a WebSocket, and what a client asks for."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Cursor = Annotated[
    str, StringConstraints(max_length=40, pattern=r"^[0-9a-f]{1,16}-[0-9a-f]{1,16}$")
]
Jobs = Annotated[list[UUID], Field(max_length=1000)]


class Subscribe(BaseModel):
    """Which jobs to hear of: those named and those of the clouds named; of all when neither is given."""

    model_config = ConfigDict(extra="forbid")

    jobs: Jobs | None = None
    clouds: Jobs | None = None


class LiveOrder(BaseModel):
    """A frame from the client. A later one replaces what an earlier one wanted."""

    model_config = ConfigDict(extra="forbid")

    subscribe: Subscribe
    after: Annotated[
        Cursor | None,
        Field(
            description="The `cursor` of the last event seen; without it: what comes from now on."
        ),
    ] = None
