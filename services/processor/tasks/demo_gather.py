"""demo.gather: joins its inputs into one file; the smallest task that shows fan-out and fan-in."""

import shutil

from pydantic import BaseModel, ConfigDict, Field

from services.processor.task import ANY_INPUT, Limits, Outcome, Product, Task, Work


class Params(BaseModel):
    """What to begin with."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", max_length=1000, description="Stands before the inputs.")


class Result(BaseModel):
    """What was joined: the names of the inputs in their order, and the size of all."""

    inputs: list[str]
    bytes: int


def run(params: Params, work: Work) -> Outcome:
    """Write the text, then each input in the order of the names."""
    names = sorted(work.inputs)
    path = work.out / "gathered.txt"
    with path.open("wb") as out:
        out.write(params.text.encode())
        for number, name in enumerate(names):
            work.progress("joining", number / len(names), f"{number} of {len(names)} inputs")
            with work.inputs[name].open("rb") as file:
                shutil.copyfileobj(file, out)
        size = out.tell()
    # Whatever the inputs are: a browser must not take them for a page of ours.
    product = Product("gathered", path, "application/octet-stream")
    return Outcome(Result(inputs=names, bytes=size), (product,))


TASK = Task(
    kind="demo.gather",
    title="Join files",
    description="Joins a text and any number of inputs, by their names, into the product `gathered`.",
    params=Params,
    result=Result,
    run=run,
    inputs=ANY_INPUT,
    limits=Limits(run_seconds=600, cpu_seconds=600),
)
