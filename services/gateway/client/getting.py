"""`pointmill get`: one product of a cloud, into a file or down a pipe."""

import sys
from pathlib import Path

from rich.text import Text

from services.gateway.client.api import Document, Pointmill
from services.gateway.client.calls import Call
from services.gateway.client.download import copy_product, fetch_product, find_product
from services.gateway.client.failures import Failure
from services.gateway.client.progress import open_watch
from services.gateway.client.wording import file_name, plain, size

TEXT_TYPES = ("text/", "application/json", "application/geo+json")


async def get(call: Call) -> int:
    """Download a product; a name of our own making never replaces a file, a given one does."""
    options = call.options
    if options.output == "-":
        async with call.server() as api:
            await _to_output(call, api)
        return 0
    async with call.server() as api:
        product = await find_product(api, options.cloud, options.product)
        target = _given(options.output)
        if target is None:
            target = _own(options.output, await api.cloud(options.cloud), product)
        with (
            open_watch(call.err, quiet=options.json) as watch,
            watch.transfer(target.name, "fetched", product["bytes"]) as moved,
        ):
            await fetch_product(api, options.cloud, product, target, moved=moved)
    if options.json:
        call.print_json({"file": str(target), "product": product})
    else:
        told = f"{plain(target)}  {size(product['bytes'])}, checksum verified"
        call.out.print(Text.assemble(("✓ ", "green"), told), soft_wrap=True)
    return 0


def _given(output: str | None) -> Path | None:
    """The file that the command line names; None if it names none, or a folder."""
    return None if output is None or Path(output).is_dir() else Path(output)


def _own(folder: str | None, cloud: Document, product: Document) -> Path:
    """A file named after the cloud's, which must not be there yet: it may be the source itself."""
    target = Path(folder or ".") / file_name(cloud, product)
    if target.exists():
        raise Failure(
            "file_exists",
            "The file is there already",
            f"{target} is there already.",
            "Name the file with -o PATH; then it is replaced.",
        )
    return target


async def _to_output(call: Call, api: Pointmill) -> None:
    product = await find_product(api, call.options.cloud, call.options.product)
    if sys.stdout.isatty() and not product["media_type"].startswith(TEXT_TYPES):
        raise Failure(
            "binary_to_terminal",
            "A terminal cannot show this",
            f"{product['name']} is {product['media_type']}, not text for a terminal.",
            "Give a path with -o, or pipe the output into a program.",
        )
    with (
        open_watch(call.err, quiet=True) as watch,
        watch.transfer(product["name"], "fetched", product["bytes"]) as moved,
    ):
        await copy_product(api, call.options.cloud, product, sys.stdout.buffer, moved)
        sys.stdout.buffer.flush()
