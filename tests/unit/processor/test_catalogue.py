"""One kind, one file; presence is registration."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.processor import catalogue, tasks
from shared.topology import LIGHT


def test_every_file_is_a_kind_of_its_name() -> None:
    files = {path.stem for path in Path(tasks.__path__[0]).glob("*.py")} - {"__init__"}
    assert {kind.replace(".", "_") for kind in catalogue.load_tasks()} == files


def test_a_file_whose_kind_has_another_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(tasks.__path__[0]) / "demo_print.py"
    (tmp_path / "demo_other.py").write_text(source.read_text())
    monkeypatch.setattr(tasks, "__path__", [str(tmp_path)])
    with pytest.raises(ValueError, match=r"tasks/demo_other\.py holds the kind demo\.print"):
        catalogue.load_tasks()


def test_every_kind_says_what_it_is_and_refuses_unknown_parameters() -> None:
    for task in catalogue.load_tasks().values():
        assert task.title
        assert task.description
        schema = task.params.model_json_schema()
        assert schema.get("additionalProperties") is False, task.kind


@pytest.mark.parametrize("files", [{"needs_source": True}, {"inputs": ("left",)}])
def test_a_light_kind_cannot_work_on_files(files: dict[str, Any]) -> None:
    light = catalogue.load_task("demo.print")
    assert light.pool == LIGHT
    with pytest.raises(ValueError, match="cannot work on a file"):
        replace(light, **files)
