"""Jobs that wait for others: what an order may say of them, and how readers see them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from services.gateway.caller import Caller
from services.gateway.fields import Order
from services.gateway.models.jobs import InputName, Job
from services.gateway.problems import (
    INVALID_REQUEST,
    PARENT_NOT_FOUND,
    PIPELINE_TOO_LONG,
    TOO_MANY_PARENTS,
    Problem,
)
from services.gateway.resources import Gateway
from shared.db import Row

MOST_PARENTS = 100
LONGEST_CHAIN = 100
ANY_INPUT = "*"


class NewInput(Order):
    """A product of another job."""

    job: UUID
    product: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$"),
        Field(description="Its name, as under `/v1/jobs/{id}/products`.", examples=["copc"]),
    ]


class Waiting(Order):
    """The part of an order that says what the job waits for."""

    after: Annotated[
        list[UUID],
        Field(
            default_factory=list,
            description="It is started when all of these jobs have succeeded, and fails with"
            f" `parent_failed` when one has not. At most {MOST_PARENTS}, those of `inputs` counted.",
        ),
    ]
    inputs: Annotated[
        dict[InputName, NewInput],
        Field(
            default_factory=dict,
            description="Products of other jobs that it works on; it waits for those jobs as well.",
        ),
    ]

    @property
    def waits(self) -> bool:
        """Whether it waits for anything."""
        return bool(self.after or self.inputs)

    def stored_inputs(self) -> dict[str, dict[str, str]]:
        """The inputs as the row of the job keeps them."""
        return {name: one.model_dump(mode="json") for name, one in self.inputs.items()}


def check_inputs(kind: str, takes: Sequence[str], given: Iterable[str]) -> None:
    """Raise a Problem that names each input which the kind does not take."""
    unknown = [name for name in given if name not in takes and ANY_INPUT not in takes]
    if unknown:
        known = f"it takes {', '.join(takes)}" if takes else "it takes none"
        message = f"is not an input of {kind}; {known}"
        raise Problem(
            INVALID_REQUEST,
            f"inputs.{unknown[0]}: {message}.",
            errors=[(f"inputs.{name}", message) for name in unknown],
        )


async def check_parents(gateway: Gateway, caller: Caller, order: Waiting) -> None:
    """Raise a Problem unless all jobs that are named are the caller's, and not too many or too deep."""
    named = {f"after.{index}": job for index, job in enumerate(order.after)}
    named |= {f"inputs.{name}.job": one.job for name, one in order.inputs.items()}
    wanted = set(named.values())
    if len(wanted) > MOST_PARENTS:
        field = "after" if order.after else "inputs"
        raise Problem.of_field(TOO_MANY_PARENTS, field, f"{len(wanted)} jobs are named")
    async with gateway.database.transaction(caller.workspace) as transaction:
        found = await transaction.rows("find_parents", list(wanted))
    depths = {row["id"]: row["depth"] for row in found}
    unknown = [field for field, job in named.items() if job not in depths]
    if unknown:
        raise Problem(
            PARENT_NOT_FOUND,
            f"{unknown[0]}: is not a job of yours",
            errors=[(field, "is not a job of yours") for field in unknown],
        )
    deep = [field for field, job in named.items() if depths[job] >= LONGEST_CHAIN]
    if deep:
        message = f"has {LONGEST_CHAIN} jobs in a row above it already"
        raise Problem.of_field(PIPELINE_TOO_LONG, deep[0], message)


async def show_jobs(gateway: Gateway, caller: Caller, rows: Sequence[Row]) -> list[Job]:
    """Show rows of `jobs` with their parents and children, which only jobs of a pipeline have to be asked for."""
    related = [row["id"] for row in rows if row["depth"] or row["has_children"]]
    families: Mapping[UUID, Row] = {}
    if related:
        found = await gateway.database.rows("read_families", caller.workspace, related)
        families = {row["job_id"]: row for row in found}
    jobs = [Job.of(row) for row in rows]
    for job in jobs:
        if family := families.get(job.id):
            job.after = family["after"]
            job.waiting_for = family["waiting_for"]
            job.children = family["children"]
    return jobs


async def show_job(gateway: Gateway, caller: Caller, row: Row) -> Job:
    """Show one row, likewise."""
    (job,) = await show_jobs(gateway, caller, [row])
    return job
