"""What every model of an answer shares."""

from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from shared.db import Row

T = TypeVar("T")


class Shown(BaseModel):
    """The base of everything shown: made from a row, whose further columns stay unseen."""

    model_config = ConfigDict(populate_by_name=True)

    @classmethod
    def of(cls, row: Row) -> Self:
        """Show a row."""
        return cls.model_validate(dict(row))


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    items: list[T]
    next: Annotated[
        str | None, Field(description="Pass it as `cursor` for what follows; null at the end.")
    ] = None
