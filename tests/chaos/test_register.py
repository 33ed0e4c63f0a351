"""Every registered place stands in the code, once where it belongs, and is a place of a kill."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from shared.failpoints import FAILPOINTS
from tests.chaos.test_failpoints import AT_DEATH, KILLS

PROJECT = Path(__file__).parents[2]

PLACES = {
    "gateway.upload.receiving": ["services/gateway/uploads.py"],
    "gateway.upload.stored": ["services/gateway/uploads.py"],
    # The two ways to upload: the file of an empty cloud, and a cloud with its file.
    "gateway.upload.committed": [
        "services/gateway/routes/clouds.py",
        "services/gateway/routes/files.py",
    ],
    # The relay is shared; a service that opens one names itself.
    "gateway.outbox.published": ["services/gateway/app.py"],
    "processor.outbox.published": ["services/processor/app.py"],
    "processor.doorbell.received": ["services/processor/worker.py"],
    "processor.job.claimed": ["services/processor/worker.py"],
    "processor.batch.computed": ["services/processor/light.py"],
    "processor.batch.finished": ["services/processor/light.py"],
    "processor.job.downloaded": ["services/processor/attempt.py"],
    "processor.job.running": ["services/processor/progress.py"],
    "processor.job.computed": ["services/processor/attempt.py"],
    "processor.job.stored": ["services/processor/attempt.py"],
    "processor.job.finished": ["services/processor/worker.py"],
    "processor.schedule.ordered": ["services/processor/scheduler.py"],
    "processor.schedule.committed": ["services/processor/scheduler.py"],
    "notifier.event.received": ["services/notifier/notices.py"],
    "notifier.event.planned": ["services/notifier/notices.py"],
    "notifier.delivery.claimed": ["services/notifier/notices.py"],
    "notifier.delivery.sent": ["services/notifier/notices.py"],
}


def test_every_registered_failpoint_has_a_kill_and_no_other_has() -> None:
    assert KILLS.keys() == FAILPOINTS
    assert AT_DEATH.keys() <= FAILPOINTS


def test_every_registered_failpoint_is_passed_exactly_where_it_is_expected() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((PROJECT / "services").rglob("*.py")):
        for name in failpoints_of(path):
            places[name].append(str(path.relative_to(PROJECT)))
    assert dict(places) == PLACES
    assert PLACES.keys() == FAILPOINTS


def failpoints_of(path: Path) -> Iterator[str]:
    """The failpoints that the module passes, by itself or through the relay that it opens."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        words = [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "reach":
            assert len(words) == 1, f"{path}:{node.lineno}: the name must be written out"
            yield words[0]
        if isinstance(node.func, ast.Name) and node.func.id == "Relay":
            assert len(words) == 1, f"{path}:{node.lineno}: the service must be written out"
            yield f"{words[0]}.outbox.published"
