"""Jobs that wait for others, as the command line says and shows them."""

import argparse
import re
from typing import Any

from services.gateway.client.api import Document

INPUT = re.compile(r"([a-z][a-z0-9_-]{0,63})=([0-9A-Fa-f-]+)/([a-z][a-z0-9_-]{0,63})")


def add_pipeline_options(run: argparse.ArgumentParser) -> None:
    """What an order can say of other jobs."""
    run.add_argument(
        "--after",
        metavar="JOB",
        action="append",
        default=[],
        help="start it when this job has succeeded; may be given again",
    )
    run.add_argument(
        "--input",
        metavar="NAME=JOB/PRODUCT",
        action="append",
        default=[],
        type=parse_input,
        dest="inputs",
        help="let it work on this product of that job, once it has succeeded; may be given again",
    )


def parse_input(text: str) -> tuple[str, Document]:
    """`name=job/product`, as the API takes it."""
    match = INPUT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=JOB/PRODUCT")
    name, job, product = match.groups()
    return name, {"job": job, "product": product}


def pipeline_of(options: argparse.Namespace) -> Document:
    """The part of an order that names other jobs; empty when none are named."""
    parts: Document = {"after": options.after, "inputs": dict(options.inputs)}
    return {name: value for name, value in parts.items() if value}


def family_lines(job: Document) -> list[tuple[str, Any]]:
    """What to show of the jobs it waits for, and of those that wait for it."""
    waiting, after = job.get("waiting_for") or [], job.get("after") or []
    lines: list[tuple[str, Any]] = [
        ("waits for", ", ".join(waiting) or None),
        ("came after", ", ".join(one for one in after if one not in waiting) or None),
        ("children", ", ".join(job.get("children") or []) or None),
    ]
    for name, one in (job.get("inputs") or {}).items():
        lines.append((f"input {name}", f"{one['job']}/{one['product']}"))
    return lines
