"""What an upload ends with on the screen: what came out of each file, and how to get it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.text import Text

from services.gateway.client.api import Document
from services.gateway.client.display import show_products, state_mark, state_text, table_of
from services.gateway.client.wording import how_it_ended, plain, points, size


class Uploaded(Protocol):
    """What is shown of an upload."""

    file: str
    cloud: Document | None
    job: Document | None
    products: list[Document]
    error: Document | None


def show_uploads(console: Console, uploads: Sequence[Uploaded], *, waited: bool) -> None:
    """One file in full, several as a table."""
    if len(uploads) == 1:
        _show_one(console, uploads[0], waited=waited)
    else:
        _show_many(console, uploads, waited=waited)


def _show_one(console: Console, one: Uploaded, *, waited: bool) -> None:
    if one.cloud is None or one.job is None:
        # Refused: the sentence on the error output has said it all.
        return
    name = plain(Path(one.file).name)
    # Why it failed, the error output has said already.
    told = "failed" if one.job["state"] == "failed" else how_it_ended(one.job)
    console.print(Text.assemble(state_mark(one.job["state"]), f" {name}: {told}"), soft_wrap=True)
    console.print(Text.assemble(("  cloud ", "dim"), one.cloud["id"]), soft_wrap=True)
    console.print(Text.assemble(("  job   ", "dim"), one.job["id"]), soft_wrap=True)
    if not waited:
        _show_hint(console, "Follow it: ", f"pointmill job {one.job['id']} --wait")
    if one.products:
        console.print()
        show_products(console, one.cloud["id"], one.products)


def _show_many(console: Console, uploads: Sequence[Uploaded], *, waited: bool) -> None:
    table = table_of("File", "State", "Points", "Products", "Cloud", right=("Points", "Products"))
    for one in uploads:
        table.add_row(
            plain(Path(one.file).name),
            _state(one),
            (points(one.job) or "").split(" ")[0] if one.job else "",
            _products(one),
            one.cloud["id"] if one.cloud else "",
        )
    console.print()
    console.print(table)
    console.print()
    stored = [one for one in uploads if one.job is not None]
    if waited:
        good = sum(one.job is not None and one.job["state"] == "succeeded" for one in uploads)
        console.print(f"{good} of {len(uploads)} succeeded.")
        if any(one.products for one in uploads):
            _show_hint(console, "Get one: ", "pointmill get CLOUD PRODUCT")
    else:
        console.print(f"{len(stored)} of {len(uploads)} stored.")
        _show_hint(console, "See them: ", "pointmill jobs")


def _state(one: Uploaded) -> Text:
    """The job's state; the code of the refusal where there is no job."""
    if one.job is not None:
        return state_text(one.job["state"])
    return Text(plain((one.error or {}).get("code", "not sent")), style="red")


def _products(one: Uploaded) -> str:
    if not one.products:
        return ""
    total = sum(product["bytes"] for product in one.products)
    return f"{len(one.products)}, {size(total)}"


def _show_hint(console: Console, label: str, command: str) -> None:
    console.print(Text.assemble((label, "dim"), command), soft_wrap=True)
