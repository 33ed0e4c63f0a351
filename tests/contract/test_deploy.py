"""Images, compose.yaml and the READMEs say what the services really read and really need."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from pydantic_settings import BaseSettings

from services.gateway.settings import Settings as GatewaySettings
from services.notifier.settings import Settings as NotifierSettings
from services.processor.settings import Settings as ProcessorSettings

CHECKOUT = Path(__file__).parents[2]
DEPLOY = CHECKOUT / "deploy"
SETTINGS: dict[str, type[BaseSettings]] = {
    "gateway": GatewaySettings,
    "processor": ProcessorSettings,
    "notifier": NotifierSettings,
}
ONCE = {
    "migrate": {"MIGRATE_DATABASE_URL", "MIGRATE_ROLE_PASSWORDS"},
    "bootstrap": {"MIGRATE_DATABASE_URL", "POINTMILL_API_KEY", "POINTMILL_MEMBER_EMAIL"},
    "topology": {"POINTMILL_AMQP_ADMIN_URL", "POINTMILL_AMQP_PASSWORDS"},
}
YAML_RULES = (
    "{extends: default, rules: {line-length: {max: 100}, document-start: disable,"
    " empty-values: disable}}"
)
each_service = pytest.mark.parametrize("service", SETTINGS)


def tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a linter of the virtual environment that runs this test."""
    program = shutil.which(name, path=str(Path(sys.executable).parent))
    assert program, f"{name} is not installed; it is in the development lock"
    return subprocess.run(
        [program, *words], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )


def dockerfile(service: str) -> str:
    """The Dockerfile with its continued lines joined and its comments left out."""
    text = (DEPLOY / "docker" / f"{service}.Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines))


def last_word(service: str, instruction: str) -> str:
    """The last operand of an instruction: for the final image it is the one that holds."""
    found: list[str] = re.findall(rf"^{instruction} (.*)$", dockerfile(service), flags=re.MULTILINE)
    return found[-1]


def variables(service: str) -> dict[str, Any]:
    """Name of each variable that the service reads -> its field."""
    settings = SETTINGS[service]
    prefix = settings.model_config.get("env_prefix", "")
    return {prefix + name.upper(): field for name, field in settings.model_fields.items()}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def asked_for() -> set[str]:
    """Every variable that compose.yaml takes from deploy/.env."""
    text = (DEPLOY / "compose.yaml").read_text()
    passed = re.findall(r"^      ([A-Z_]+):$", text, flags=re.MULTILINE)
    return {*re.findall(r"\$\{([A-Z_]+)", text), *passed}


@each_service
def test_hadolint_finds_nothing_in_a_dockerfile(service: str) -> None:
    linted = tool("hadolint", f"deploy/docker/{service}.Dockerfile")
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp\nCMD python -m services.gateway\n")
    assert tool("hadolint", str(bad)).returncode != 0


def test_yamllint_finds_nothing_in_compose() -> None:
    linted = tool("yamllint", "--strict", "-d", YAML_RULES, "deploy/compose.yaml")
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


@each_service
def test_an_image_holds_its_own_service_shared_and_sql_and_nothing_else(service: str) -> None:
    copies = re.findall(r"^COPY (.*)$", dockerfile(service), flags=re.MULTILINE)
    ours = {line.split()[0].rstrip("/"): line.split()[1] for line in copies if "--from" not in line}
    assert ours == {
        f"requirements/{service}.txt": "/tmp/requirements.txt",  # noqa: S108 - in the image
        "sql": "sql/",
        "shared": "shared/",
        "services/__init__.py": "services/",
        f"services/{service}": f"services/{service}/",
    }
    context = (DEPLOY / "docker" / f"{service}.Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in context if line.startswith("!")} == set(ours)
    assert "*" in context
    for source in ours:
        assert (CHECKOUT / source).exists(), source


@each_service
def test_an_image_runs_as_nobody_and_hears_sigterm(service: str) -> None:
    assert last_word(service, "USER") == "10001:10001"
    assert last_word(service, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(last_word(service, "CMD")) == ["python", "-m", f"services.{service}"]
    assert "ENTRYPOINT" not in dockerfile(service), "the migrations replace the whole command"


@each_service
def test_an_image_installs_only_what_its_lock_pins(service: str) -> None:
    runs = re.findall(r"pip install .*", dockerfile(service))
    assert len(runs) == 1
    assert "--require-hashes -r /tmp/requirements.txt" in runs[0]
    assert f"ARG BASE=python:{sys.version_info.major}.{sys.version_info.minor}-slim" in dockerfile(
        service
    )


@each_service
def test_an_image_sets_and_asks_only_for_variables_that_exist(service: str) -> None:
    prefix = f"{service.upper()}_"
    named = set(re.findall(rf"\b{prefix}[A-Z_]+", dockerfile(service)))
    assert named <= set(variables(service))
    assert {f"{prefix}HOST", f"{prefix}PORT"} <= named
    port = last_word(service, "EXPOSE")
    assert f"{prefix}PORT={port}" in dockerfile(service)
    assert SETTINGS[service].model_fields["port"].default == int(port)


@each_service
def test_the_health_check_of_an_image_compiles_and_asks_livez(service: str) -> None:
    _, _, command = last_word(service, "HEALTHCHECK").partition("CMD ")
    program, flag, code = json.loads(command)
    assert (program, flag) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert "/livez" in code


def default_in_words(field: Any) -> str | None:
    """The default as the tables write it; None where it takes words of its own."""
    if (
        field.default_factory is not None
        or field.default is None
        or isinstance(field.default, tuple)
    ):
        return None
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, float):
        return f"{field.default:g}"
    return str(field.default)


def table(service: str) -> dict[str, str]:
    """Variable -> default, from the table in the service's README."""
    text = (CHECKOUT / "services" / service / "README.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", text, flags=re.MULTILINE)
    return {name: default.strip() for name, default in rows}


@each_service
def test_a_readme_lists_every_variable_with_its_default(service: str) -> None:
    listed = table(service)
    assert set(listed) == set(variables(service))
    for name, field in variables(service).items():
        if field.is_required():
            assert listed[name] == "required", name
            continue
        assert listed[name] not in {"", "required"}, name
        if (words := default_in_words(field)) is not None:
            assert listed[name] == f"`{words}`", name


@each_service
def test_compose_names_only_variables_that_a_service_reads(service: str) -> None:
    named = set(compose()["services"][service]["environment"])
    assert named <= set(variables(service))
    # The image's own, which compose need not repeat.
    own = set(re.findall(r"\b([A-Z]+_(?:HOST|PORT|SCRATCH))=", dockerfile(service)))
    assert named | own == set(variables(service)), "operators can set all the others"


@pytest.mark.parametrize("part", ONCE)
def test_compose_tells_each_one_shot_what_it_reads(part: str) -> None:
    described = compose()["services"][part]
    assert set(described["environment"]) == ONCE[part]
    module = CHECKOUT / Path(*described["command"][2].split(".")).with_suffix(".py")
    text = module.read_text()
    for name in ONCE[part]:
        assert f'"{name}"' in text, f"{module.name} does not read {name}"


def test_the_example_names_every_variable_that_compose_asks_for_and_no_other() -> None:
    text = (DEPLOY / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", text, flags=re.MULTILINE)) == asked_for()


def test_the_example_leaves_empty_what_compose_insists_on_and_only_that() -> None:
    text = (DEPLOY / ".env.example").read_text()
    empty = set(re.findall(r"^([A-Z_]+)=$", text, flags=re.MULTILINE))
    insisted = re.findall(r"\$\{([A-Z_]+):\?\}", (DEPLOY / "compose.yaml").read_text())
    assert empty == set(insisted)


@each_service
def test_the_examples_of_a_services_variables_are_its_defaults(service: str) -> None:
    text = (DEPLOY / ".env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z_]+)=(.+)$", text, flags=re.MULTILINE))
    for name, field in variables(service).items():
        words = None if field.is_required() else default_in_words(field)
        if name in shown and words is not None:
            assert shown[name] == words, name


def test_a_service_starts_after_the_one_shots_and_stops_in_peace() -> None:
    services = compose()["services"]
    for name in SETTINGS:
        after = services[name]["depends_on"]
        assert {part: how["condition"] for part, how in after.items()} == {
            "bootstrap": "service_completed_successfully",
            "topology": "service_completed_successfully",
        }
        assert services[name]["read_only"] is True
        assert services[name]["stop_grace_period"] == "30s"
    waits = {name: services[name].get("depends_on", {}) for name in ONCE}
    assert waits["migrate"] == {"postgres": {"condition": "service_healthy"}}
    assert waits["topology"] == {"rabbitmq": {"condition": "service_healthy"}}


def test_every_volume_of_compose_is_declared_and_used() -> None:
    described = compose()
    used = {
        volume.split(":")[0]
        for service in described["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used == set(described["volumes"])
