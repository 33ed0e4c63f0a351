"""Each service is told what is its own, and nothing else."""

from pathlib import Path

import pytest

from deploy.local import services
from deploy.local.services import SERVICES, SINKS, SINKS_SMTP, Surroundings


@pytest.fixture
def around() -> Surroundings:
    parts = (SINKS, SINKS_SMTP, *SERVICES)
    return Surroundings(
        database={
            part: f"postgresql://{part}:db-secret-of-{part}@127.0.0.1/p" for part in SERVICES
        },
        amqp={part: f"amqp://{part}:amqp-secret-of-{part}@127.0.0.1/" for part in SERVICES},
        storage="file:///objects",
        ports={part: 20000 + number for number, part in enumerate(parts)},
        scratch=Path("/scratch"),
        data=Path("/sinks"),
    )


@pytest.mark.parametrize("part", SERVICES)
def test_a_service_has_only_variables_with_its_own_prefix(around: Surroundings, part: str) -> None:
    assert all(name.startswith(f"{part.upper()}_") for name in services.variables(part, around))


@pytest.mark.parametrize("part", SERVICES)
def test_a_service_starts_without_the_secrets_of_the_others(
    around: Surroundings, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in SERVICES:
        monkeypatch.setenv(f"{other.upper()}_DATABASE_URL", "from the caller's shell")
    monkeypatch.setenv("MIGRATE_DATABASE_URL", "from the caller's shell")
    text = " ".join(f"{k}={v}" for k, v in services.command(part, around).env.items())
    assert "from the caller's shell" not in text
    assert all(f"secret-of-{other}" not in text for other in SERVICES if other != part)


def test_the_notifier_reaches_no_object(around: Surroundings) -> None:
    assert "NOTIFIER_STORAGE_URL" not in services.variables("notifier", around)


def test_other_settings_give_another_digest(around: Surroundings) -> None:
    plain = services.command("gateway", around)
    more = services.command("gateway", around, {"POINTMILL_FAILPOINTS": "x=kill"})
    assert plain.digest == services.command("gateway", around).digest != more.digest
