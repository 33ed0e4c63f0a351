"""Mutated files through real attempts: `python -m tests.fuzz --count 1000 --seed 1`.

Prints how they ended, and exits with status 1 if any ended as none may. What was found is kept with
the number that makes it again: `python -m tests.fuzz --seed 1 --only 17`. With `--salvage-all` the
files are every real one and every lie of tests/fixtures/hostile.py as they are, all with a salvage.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import structlog

from services.processor.forks import Forks
from tests.fixtures.corpus import read_corpus
from tests.fixtures.hostile import lies
from tests.fuzz.attempts import Case, Verdict, attempt, case
from tests.fuzz.seeds import Seed, seeds

GOOD_EVERY = 20
AT_ONCE = 2


async def main(cases: Iterable[Case], keep: Path) -> int:
    """Run the cases and a sound file now and then; the exit status."""
    sound = seeds()
    waiting, outcomes, findings = iter(cases), Counter[tuple[str, str]](), 0
    took: list[tuple[float, str]] = []
    forks = Forks()

    async def run(one: Case) -> int:
        since = time.monotonic()
        verdict = await _judged(forks, one)
        took.append((round(time.monotonic() - since, 1), one.name))
        outcomes[verdict.outcome, one.mutation] += 1
        if verdict.finding is None:
            return 0
        say(f"FOUND {kept(one, keep)} {one.params}: {verdict.finding}")
        return 1

    async def worker() -> None:
        nonlocal findings
        for one in waiting:
            found = await run(one)
            if one.number % GOOD_EVERY == 0:
                found += await run(_good(one.number, sound))
            findings += found

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    await forks.close()
    say(table(outcomes))
    say("slowest: " + ", ".join(f"{name} {seconds} s" for seconds, name in sorted(took)[:-4:-1]))
    say(f"{findings} findings")
    return 1 if findings else 0


def mutated(run_seed: int, numbers: Sequence[int]) -> Iterator[Case]:
    """The cases of these numbers."""
    sound = seeds()
    say(f"{len(numbers)} files of seed {run_seed}, made from {len(sound)} sound ones")
    for number in numbers:
        yield case(run_seed, number, sound)


def whole() -> Iterator[Case]:
    """Every real file and every lie, as they are, with a salvage."""
    files = [(f"real {file.kind}", file.path.stem, file.path.read_bytes) for file in read_corpus()]
    files += [(f"lie to be {lie.fate}", lie.name, lie.make) for lie in lies()]
    for number, (kind, name, read) in enumerate(files, 1):
        data = read()
        suffix = ".laz" if len(data) > 104 and data[104] & 0x80 else ".las"
        yield Case(number, name, kind, data, suffix, {"salvage": True, "products": []})


def _good(number: int, sound: list[Seed]) -> Case:
    """A sound file in between: the next job runs."""
    seed = sound[number // GOOD_EVERY % len(sound)]
    return Case(number, seed.name, "none", seed.data, seed.suffix, {"products": []})


async def _judged(forks: Forks, one: Case) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="pointmill-fuzz-") as folder:
        verdict = await attempt(forks, one, Path(folder))
    if one.mutation == "none" and verdict.outcome != "succeeded":
        return Verdict(verdict.outcome, verdict.finding or "a sound file did not succeed")
    return verdict


def kept(one: Case, folder: Path) -> Path:
    """Where the file is that somebody has to look at."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{one.name}{one.suffix}"
    path.write_bytes(one.data)
    return path


def say(text: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(outcomes: Counter[tuple[str, str]]) -> str:
    """How many ended in each way, by mutation."""
    ends = sorted({end for end, _ in outcomes}, key=lambda end: -_total(outcomes, end))
    columns = sorted({mutation for _, mutation in outcomes})
    width = max(map(len, ends), default=0)
    rows = [f"{'':{width}} {'all':>5}  by mutation"]
    for end in ends:
        shares = [f"{name} {outcomes[end, name]}" for name in columns if outcomes[end, name]]
        rows.append(f"{end:{width}} {_total(outcomes, end):5}  {', '.join(shares)}")
    return "\n".join(rows)


def _total(outcomes: Counter[tuple[str, str]], end: str) -> int:
    return sum(number for (found, _), number in outcomes.items() if found == end)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of a single case")
    parser.add_argument("--salvage-all", action="store_true", help="real files and lies instead")
    parser.add_argument("--keep", type=Path, default=Path(".local/fuzz"), help="for what is found")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    numbers = range(given.count) if given.only is None else [given.only]
    cases = whole() if given.salvage_all else mutated(given.seed, numbers)
    sys.exit(asyncio.run(main(cases, given.keep)))
