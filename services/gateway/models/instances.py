"""Running services as they are shown."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.gateway.models.shown import Page, Shown


class Instance(Shown):
    """A running process of a service, as it has last said of itself."""

    instance: Annotated[str, Field(description="Its name, as the logs say it.")]
    service: str
    version: str
    accepts: Annotated[
        list[str], Field(description="The message types and versions it understands.")
    ]
    kinds: Annotated[list[str], Field(description="The kinds of jobs it runs.")]
    started_at: datetime
    seen_at: Annotated[datetime, Field(description="A day without a word, and it is forgotten.")]


class Instances(Page[Instance]):
    """The list of running processes."""
