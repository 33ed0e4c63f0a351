"""Every import contract holds, and each would notice what it forbids and say where it stands."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
ROOTS = ("services", "shared", "sql", "deploy")
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"][
        "importlinter"
    ]["contracts"]
]
# Contract, the file that breaks it, the module it then imports.
PLANTED = [
    ("Services never import each other", "services/notifier/notices.py", "services.gateway.models"),
    ("shared knows no service", "shared/jobs.py", "services.processor.task"),
    ("Messages are plain data", "shared/messages/jobs.py", "asyncpg"),
    ("Messages are plain data", "shared/messages/jobs.py", "shared.db"),
    ("aio-pika is imported by shared.bus alone", "shared/health.py", "aio_pika"),
    ("aio-pika is imported by shared.bus alone", "services/gateway/live.py", "aiormq"),
    (
        "Google's library is imported by shared.objects alone",
        "services/gateway/uploads.py",
        "gcloud.aio.storage",
    ),
    (
        "The engine and the tasks are pure compute",
        "services/processor/pointcloud/octree/morton.py",
        "asyncio",
    ),
    (
        "The engine and the tasks are pure compute",
        "services/processor/tasks/demo_print.py",
        "aiohttp",
    ),
    (
        "Point-cloud libraries live in the engine and the tasks only",
        "services/processor/worker.py",
        "numpy",
    ),
    (
        "Point-cloud libraries live in the engine and the tasks only",
        "shared/preflight/header.py",
        "laspy",
    ),
    (
        "No road leads from shared, gateway or notifier to a point-cloud library",
        "services/gateway/models/jobs.py",
        "lazrs",
    ),
    ("Migrations stand alone", "sql/migrate.py", "shared.db"),
    (
        "What is deployed neither migrates nor knows the local stack",
        "services/gateway/app.py",
        "sql.migrate",
    ),
    (
        "What is deployed neither migrates nor knows the local stack",
        "shared/process.py",
        "deploy.local.ports",
    ),
    (
        "The command-line client uses the public HTTP API only",
        "services/gateway/client/api.py",
        "shared.errors",
    ),
    (
        "The command-line client uses the public HTTP API only",
        "services/gateway/client/upload.py",
        "shared.preflight",
    ),
    (
        "The command-line client uses the public HTTP API only",
        "services/gateway/client/checking.py",
        "shared.objects",
    ),
]


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).parent / "lint-imports"
    # Only what stands in the folder is looked at: started there, it comes first in the search path.
    return subprocess.run(
        [str(program), "--no-cache"],
        cwd=folder,
        env={"PATH": str(program.parent), "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plain(text: str) -> str:
    """The text without colours, each run of white space one space."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;]*m", "", text))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources in a folder of their own, to plant things in."""
    folder = tmp_path_factory.mktemp("checkout")
    for root in ROOTS:
        shutil.copytree(
            CHECKOUT / root, folder / root, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    return folder


def test_every_contract_holds(copy: Path) -> None:
    linted = lint(copy)
    assert linted.returncode == 0, linted.stdout
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in linted.stdout


def test_every_contract_is_tried_here() -> None:
    assert {name for name, _, _ in PLANTED} == set(CONTRACTS)


@pytest.mark.parametrize(("contract", "file", "module"), PLANTED)
def test_a_forbidden_import_is_found_with_its_file_and_line(
    copy: Path, contract: str, file: str, module: str
) -> None:
    path = copy / file
    before = path.read_text()
    path.write_text(f"{before}\nimport {module}\n")
    line = len(path.read_text().splitlines())
    try:
        linted = lint(copy)
    finally:
        path.write_text(before)
    said = plain(linted.stdout)
    assert linted.returncode == 1, said
    assert f"{contract} BROKEN" in said
    importer = ".".join(Path(file).with_suffix("").parts)
    # An outer package's modules are one to the linter: gcloud.aio.storage is gcloud.
    imported = (
        module if module.split(".", maxsplit=1)[0] in ROOTS else module.split(".", maxsplit=1)[0]
    )
    assert f"{importer} -> {imported} (l.{line})" in said


def test_a_new_task_may_use_point_cloud_libraries_without_a_change_of_the_contracts(
    copy: Path,
) -> None:
    task = copy / "services" / "processor" / "tasks" / "cloud_new.py"
    task.write_text("import laspy\nimport numpy\n")
    try:
        linted = lint(copy)
    finally:
        task.unlink()
    assert linted.returncode == 0, linted.stdout
