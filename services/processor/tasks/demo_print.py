"""demo.print: the smallest task there is; prints its two arguments."""

from pydantic import BaseModel, ConfigDict, Field

from services.processor.task import Limits, Outcome, Task, Work
from shared.topology import LIGHT


class Params(BaseModel):
    """What to print."""

    model_config = ConfigDict(extra="forbid")

    first: str = Field(default="hello", max_length=1000)
    second: str = Field(default="world", max_length=1000)


class Result(BaseModel):
    """What was printed."""

    printed: str


def run(params: Params, work: Work) -> Outcome:
    """Print both arguments on one line of the job's log."""
    line = f"{params.first} {params.second}"
    work.log(line)
    return Outcome(Result(printed=line))


TASK = Task(
    kind="demo.print",
    title="Print two words",
    description="Prints its two arguments into the job's log; shows that everything is connected.",
    params=Params,
    result=Result,
    run=run,
    pool=LIGHT,
    limits=Limits(run_seconds=30, cpu_seconds=30),
)
