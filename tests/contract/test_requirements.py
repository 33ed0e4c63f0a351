"""The locks agree with pyproject.toml, with each other, and name no place to fetch from."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}(?: \\)?$")
each_lock = pytest.mark.parametrize("extra", EXTRAS)


def lock(extra: str) -> str:
    return (CHECKOUT / "requirements" / f"{extra}.txt").read_text()


def entries(text: str) -> dict[str, str]:
    """Pinned package -> version. A package without a hash, or two pins of one, are no lock."""
    found: dict[str, str] = {}
    name = None
    hashes = 0
    for line in [*text.splitlines(), "end==0"]:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if line[0] == " ":
            assert HASH.fullmatch(stripped), f"neither a hash nor a comment: {stripped}"
            hashes += 1
            continue
        assert name is None or hashes, f"{name} has no hash"
        match = ENTRY.match(line)
        assert match, f"not pinned: {line}"
        name, hashes = canonicalize_name(match[1]), 0
        assert name not in found, f"{name} is pinned twice"
        found[name] = match[2]
    del found["end"]
    return found


def wanted(extra: str) -> list[Requirement]:
    """What the project and the extra ask for; an extra that names others of ours takes theirs."""
    lines = list(EXTRAS[extra])
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    while lines:
        requirement = Requirement(lines.pop())
        if requirement.name == PROJECT["name"]:
            lines += [line for other in requirement.extras for line in EXTRAS[other]]
        else:
            asked.append(requirement)
    return asked


@each_lock
def test_a_lock_pins_what_its_extra_asks_for(extra: str) -> None:
    pinned = entries(lock(extra))
    for requirement in wanted(extra):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in the lock: run make lock"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is pinned to {version}: run make lock"
        )


@each_lock
def test_a_lock_names_no_place_to_fetch_from(extra: str) -> None:
    text = lock(extra)
    assert "://" not in text
    assert not re.search(
        r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.MULTILINE
    )
    assert " @ " not in text


@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra != "bench"])
def test_what_is_deployed_is_what_was_tested(extra: str) -> None:
    tested = entries(lock("development"))
    assert {name: tested.get(name) for name in entries(lock(extra))} == entries(lock(extra))


def test_every_lock_has_its_extra_and_is_made_by_make_lock() -> None:
    names = {path.stem for path in (CHECKOUT / "requirements").glob("*.txt")}
    assert names == set(EXTRAS)
    makefile = (CHECKOUT / "Makefile").read_text()
    made = re.search(r"^EXTRAS := (.*)$", makefile, flags=re.MULTILINE)
    assert made
    assert {*made[1].split(), "development"} == names


@pytest.mark.parametrize(
    "bad",
    [
        "numpy>=2.0 \\\n    --hash=sha256:" + "0" * 64,
        "numpy==2.0",
        "numpy==2.0 \\\n    --hash=md5:" + "0" * 32,
        "numpy==2.0 \\\n    --index-url x",
    ],
)
def test_what_is_no_lock_is_noticed(bad: str) -> None:
    with pytest.raises(AssertionError):
        entries(bad + "\n")
