"""Measures the job core beside what it replaces: orders, end to end, drain, recovery, progress.

    python -m tests.bench.jobs [--rounds N] [--seconds S] [--jobs N] [--only MARKS]

The contestants take turns on one private PostgreSQL (fsync on) and RabbitMQ. Prints a table and
verdicts, writes them to .local/bench/jobs.json, and ends with 1 if something that must hold does not.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path

from tests.bench.jobs.contestants import ALL
from tests.bench.jobs.ours import announce_kinds, measure_ours
from tests.bench.jobs.pair import opened_pair
from tests.bench.jobs.programs import KEPT, RIVALS_PYTHON, cpu_of
from tests.bench.jobs.report import Found, as_json, describe_machine, judge, table
from tests.bench.jobs.rounds import Bench


def say(line: str = "") -> None:
    """Print at once, for whoever is watching."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def busy() -> float:
    """Seconds that all cores together have been busy since the machine was started."""
    user, nice, system, _, _, irq, softirq = Path("/proc/stat").read_text().split()[1:8]
    return sum(map(int, (user, nice, system, irq, softirq))) / os.sysconf("SC_CLK_TCK")


async def measure(chosen: argparse.Namespace) -> int:
    """Measure, print, write; 1 if something that must hold does not."""
    contestants = [one for one in ALL if one.mark in chosen.only]
    found: Found = {one.mark: [] for one in contestants}
    ours = None
    began, all_busy, own = time.monotonic(), busy(), cpu_of(os.getpid())
    with opened_pair() as pair:
        await pair.prepare()
        await announce_kinds(pair)
        for number in range(1, chosen.rounds + 1):
            for one in contestants:
                say(f"round {number}: {one.name}")
                jobs = min(one.jobs, chosen.jobs or one.jobs)
                found[one.mark].append(await Bench(pair, one, jobs).measure(chosen.seconds))
        if "d" in chosen.only:
            say("relay, recovery and progress")
            ours = await measure_ours(pair)
        # Our children's processor time too, once they have ended: all but the servers' by now.
        spent = cpu_of(os.getpid()) - own
    wall = (time.monotonic() - began) * (os.cpu_count() or 1)
    others = max(busy() - all_busy - spent, 0.0) / wall
    verdicts = judge(found, ours, others)
    say()
    for line in table(found, contestants, ours):
        say(line)
    say(f"Other programs had {others:.0%} of the cores meanwhile.")
    say()
    marks = {True: "holds  ", False: "FAILS  ", None: "unknown"}
    for verdict in verdicts:
        say(f"{marks[verdict.holds]} {verdict.what}: {verdict.found}")
    result = as_json(found, ours, others, verdicts)
    (KEPT / "jobs.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(any(verdict.holds is False for verdict in verdicts))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; the median counts")
    parser.add_argument(
        "--seconds", type=float, default=8, help="of full load, and of single orders"
    )
    parser.add_argument("--jobs", type=int, help="to drain at most (20,000; 6,000 for Celery)")
    parser.add_argument("--only", default="abcd", help="which contestants, by their letters")
    chosen = parser.parse_args()
    if not RIVALS_PYTHON.exists():
        say("Run `make bench-jobs` once: it installs what the rivals need.")
        return 2
    machine = describe_machine()
    say(f"{machine['cores']} cores of {machine['cpu']}")
    return asyncio.run(measure(chosen))


if __name__ == "__main__":
    sys.exit(main())
