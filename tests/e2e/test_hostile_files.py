"""Every lie a file can tell, through the running system: its own job ends, nothing else suffers."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.objects import open_store
from tests.e2e.uploading import Ended, Upload, send_all, two_slots
from tests.fixtures import honest
from tests.fixtures.broker import Broker
from tests.fixtures.database import Database
from tests.fixtures.hostile import Lie, lies
from tests.fixtures.servers import Servers
from tests.fixtures.system import System

# The first test waits until all files are through.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 10.0
GOOD_POINTS = 1000
LIES_PER_GOOD_FILE = 6


@pytest.fixture(scope="module")
async def hostile_system(
    servers: Servers,
    module_database: Database,
    module_broker: Broker,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("hostile")
    async with two_slots(servers, module_database, module_broker, folder) as system:
        yield system


@pytest.fixture(scope="module")
async def ended(
    hostile_system: System, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Ended]:
    """Send all lies, with good files among them and one behind them."""
    folder = tmp_path_factory.mktemp("lies")
    uploads = []
    for number, lie in enumerate(lies()):
        if number % LIES_PER_GOOD_FILE == 0:
            uploads.append(Upload(f"good {number}.laz", honest.laz(7, GOOD_POINTS)))
        path = lie.write(folder)
        uploads.append(Upload(path.name, path.read_bytes()))
    uploads.append(Upload("good at the end.laz", honest.laz(7, GOOD_POINTS)))
    return {Path(name).stem: one for name, one in (await send_all(hostile_system, uploads)).items()}


def fault_of(lie: Lie, ended: Ended) -> str | None:
    """What is wrong with the end of a lie's job, if anything."""
    if ended.seconds > SECONDS:
        return f"it took {ended.seconds} s"
    if ended.job is not None and ended.job["attempt"] > 1:
        return f"it was tried {ended.job['attempt']} times: {ended.error}"
    said = [warning["code"] for warning in ended.result["warnings"]] if not ended.error else []
    as_expected = {
        "refused": ended.code == lie.code,
        "milled": ended.error is None and lie.oddity in {None, *said},
        "ended": ended.error is None or ended.says_why,
    }
    if as_expected[lie.fate] and (ended.error is None or ended.says_why):
        return None
    return (
        f"{lie.fate} as {lie.code or lie.oddity} was expected: {ended.state}, {said or ended.error}"
    )


async def test_every_lie_ends_with_its_own_word_in_seconds(ended: dict[str, Ended]) -> None:
    faults = {lie.name: fault_of(lie, ended[lie.name]) for lie in lies()}
    wrong = [f"{name}: {fault}" for name, fault in faults.items() if fault is not None]
    if wrong:
        pytest.fail("\n".join([f"{len(wrong)} lies", *wrong]), pytrace=False)


async def test_good_files_among_the_lies_are_milled_as_if_alone(ended: dict[str, Ended]) -> None:
    good = [one for name, one in ended.items() if name.startswith("good ")]
    assert len(good) > len(lies()) / LIES_PER_GOOD_FILE
    for one in good:
        assert one.result["points"] == GOOD_POINTS
        assert one.job is not None
        assert one.job["attempt"] == 1


async def test_a_lie_leaves_nothing_behind_but_its_own_file(
    ended: dict[str, Ended], hostile_system: System
) -> None:
    scratch = [path for path in (hostile_system.folder / "scratch").rglob("*") if path.is_file()]
    assert [path for path in scratch if path.name != ".lock"] == []
    store = await open_store(hostile_system.objects.as_uri())
    stored = {info.key async for info in store.list("")}
    await store.close()
    async with hostile_system.database.connected() as connection:
        rows = await connection.fetch(
            "select source_object from clouds union all select object from products"
        )
    assert stored == {row["source_object"] for row in rows}
    unfinished = {path.name for path in hostile_system.objects.rglob("*") if path.is_file()}
    assert not any(name.endswith((".part", ".tmp")) for name in unfinished)


async def test_the_processor_has_survived_all_of_them(
    ended: dict[str, Ended], hostile_system: System, summarize: Callable[[str, str], None]
) -> None:
    states = [f"{one.state} {one.code or ''}" for one in ended.values()]
    lines = [f"{states.count(state):4} {state}" for state in sorted(set(states))]
    summarize("made-up lies, good files among them", "\n".join(lines))
    # Nothing of the tests starts it again: alive, it is the process that was started first.
    assert hostile_system.is_running("processor")
    assert "Traceback" not in hostile_system.log("processor")
