"""The virtual environment is made again when what stands in it would differ, and only then."""

from pathlib import Path

import pytest

from deploy.local import prepare
from deploy.local.folder import CHECKOUT


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("pyproject.toml", "requirements/development.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((CHECKOUT / name).read_bytes())
    monkeypatch.setattr(prepare, "CHECKOUT", tmp_path)
    monkeypatch.setattr(prepare, "LOCK", tmp_path / "requirements" / "development.txt")
    return tmp_path


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_another_lock_asks_for_another_environment(checkout: Path) -> None:
    before = prepare.fingerprint()
    changed(checkout / "requirements" / "development.txt", "aiohttp==", "aiohttp==9")
    assert prepare.fingerprint() != before


def test_another_command_asks_for_another_environment(checkout: Path) -> None:
    before = prepare.fingerprint()
    changed(checkout / "pyproject.toml", "pointmill-gateway =", "pointmill-front =")
    assert prepare.fingerprint() != before


def test_another_lint_rule_does_not(checkout: Path) -> None:
    before = prepare.fingerprint()
    changed(checkout / "pyproject.toml", "line-length = 100", "line-length = 99")
    assert prepare.fingerprint() == before
