"""schemathesis, with every check of its own, over the running gateway: what the document says is so."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from services.gateway.app import ROUTES
from tests.integration.gateway.conftest import OTHER_WORKSPACE, Running
from tests.integration.gateway.test_dead_letters import keep
from tests.integration.gateway.test_products import milled  # noqa: F401 - a fixture

FOLDER = Path(__file__).parent / "schemathesis"
# By the number of cases, not by a time: a busy machine must not see fewer of them. `make test-api`
# asks for more, and for chains of requests (the phase `stateful`).
CASES = os.environ.get("POINTMILL_SCHEMATHESIS_CASES", "5")
PHASES = os.environ.get("POINTMILL_SCHEMATHESIS_PHASES", "examples,coverage,fuzzing")
SEED = os.environ.get("POINTMILL_SCHEMATHESIS_SEED", "1")
LETTERS = 200
# What never ends of itself has tests of its own (test_live.py).
ENDLESS = ("/v1/live", "/v1/events")
# What a folder can only refuse reaches its 2xx over a bucket (test_upload_sessions.py).
BUCKETS = ("/v1/clouds/{cloud_id}/upload-session", "/v1/clouds/{cloud_id}/upload-session/complete")
# What needs a browser with its cookies, too (test_sessions.py).
BROWSERS = ("start_sign_in", "finish_sign_in", "change_session", "sign_out")


async def stage(running: Running, cloud: dict[str, Any], seen: Path) -> dict[str, Any]:
    """What the hooks need and no request makes."""
    links = {}
    for name in ("info", "tiles3d"):
        link = await running.api.make(f"/v1/jobs/{cloud['job']}/products/{name}/url")
        links[name] = link["href"].partition("/v1/signed/")[2]
    return {
        "base": running.api.base,
        "key": running.api.key,
        "seen": str(seen),
        "letters": [await keep(running, f"letter {number}".encode()) for number in range(LETTERS)],
        "job": cloud["job"],
        "cloud": cloud["cloud"],
        "workspace": str(OTHER_WORKSPACE),
        "links": links,
    }


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_gateway_does_what_its_document_says(
    running: Running,
    milled: dict[str, Any],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    seen = tmp_path / "seen"
    staged = await stage(running, milled, seen)
    program = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file", str(FOLDER / "schemathesis.toml"),
        "run", f"{running.api.base}/openapi.json",
        "--header", f"Authorization: Bearer {running.api.key}",
        *(f"--exclude-path={path}" for path in ENDLESS),
        *(f"--exclude-operation-id={name}" for name in BROWSERS),
        "--checks", "all", "--continue-on-failure", "--no-color",
        "--phases", PHASES, "--max-examples", CASES, "--seed", SEED,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(FOLDER),
            "SCHEMATHESIS_HOOKS": "hooks",
            "POINTMILL_STAGE": json.dumps(staged),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await program.communicate()
    assert program.returncode == 0, output.decode()
    good = {
        line.partition(" ")[2].strip()
        for line in seen.read_text().splitlines()
        if line.startswith("2")
    }
    operations = {
        f"{route.method} {route.path}"
        for group in ROUTES
        for route in group
        if route.path not in ENDLESS + BUCKETS and route.function.__name__ not in BROWSERS
    }
    assert operations - good == set(), "none of these has ever answered with 2xx"
