"""Products as they are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.fields import WHOLE
from services.gateway.models.shown import Page, Shown
from shared.db import Row


class Product(Shown):
    """A file that a job has made."""

    name: str
    media_type: str
    bytes: int
    crc32c: str
    sha256: str
    job: Annotated[UUID, Field(validation_alias="job_id")]
    created_at: datetime
    href: Annotated[str, Field(description="Where to download it.")] = ""


class Products(Page[Product]):
    """The list of products."""


def products_at(place: str, rows: Sequence[Row]) -> Products:
    """Products with the addresses they have below `place`."""
    items = [Product.of(row) for row in rows]
    for item in items:
        item.href = f"{place}/{item.name}"
    return Products(items=items)


class NewSignedLink(BaseModel):
    """How long a link is to be good."""

    model_config = ConfigDict(extra="forbid")

    seconds: Annotated[int, Field(ge=1, le=86_400), WHOLE] = 300


class SignedLink(BaseModel):
    """A link that needs no key."""

    href: Annotated[str, Field(description="Where to download it, below this API's own address.")]
    expires_at: datetime
