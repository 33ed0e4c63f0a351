"""A TypeScript client made from the document compiles, and works."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.gateway.conftest import Running

BROWSER = Path(__file__).parents[2] / "browser"
PROGRAMS = BROWSER / "node_modules" / ".bin"
OPTIONS = ("--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")
# What the program takes from Node; its full types are not needed for that.
NODE = "declare const process: { argv: string[] };\n"


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_a_client_made_from_the_document_compiles_and_works(
    running: Running, tmp_path: Path
) -> None:
    if not (PROGRAMS / "openapi-typescript").exists():
        pytest.skip("`make test` installs the compiler (npm ci in tests/browser)")
    document = await running.nobody("GET", "/openapi.json")
    (tmp_path / "openapi.json").write_bytes(document.body)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node.d.ts").write_text(NODE)
    (tmp_path / "node_modules").symlink_to(BROWSER / "node_modules")
    shutil.copy(BROWSER / "client.ts", tmp_path)
    run(
        str(PROGRAMS / "openapi-typescript"),
        "openapi.json",
        "-o",
        "api.d.ts",
        "--default-non-nullable=false",
        folder=tmp_path,
    )
    run(str(PROGRAMS / "tsc"), *OPTIONS, "client.ts", "node.d.ts", folder=tmp_path)
    said = await running_node(tmp_path, running)
    assert json.loads(said) == {
        "name": "from typescript",
        "properties": {"colour": "blue"},
        "found": True,
        "code": "job_not_found",
    }


async def running_node(folder: Path, running: Running) -> str:
    """Run the compiled client; not in the way of the gateway, which is in this process."""
    program = await asyncio.create_subprocess_exec(
        "node", "client.js", running.api.base, running.api.key or "",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        out, error = await program.communicate()
    assert program.returncode == 0, error.decode()
    return out.decode()
