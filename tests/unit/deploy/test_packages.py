"""While packages are installed nothing starts, and afterwards the system's files are as they were."""

import subprocess
from pathlib import Path

import pytest

from deploy.local import packages
from deploy.local.errors import StackError

AS_CALLER: list[str] = []
ALLOWS = "#!/bin/sh\n# somebody's own\nexit 0\n"
FORBIDS = "#!/bin/sh\n# somebody's own\nexit 101\n"


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", path)
    return path


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "createcluster.conf"
    path.write_text("#create_main_cluster = true\nssl = on\n")
    monkeypatch.setattr(packages, "_CLUSTERS", path)
    monkeypatch.setattr(packages, "_apt", lambda _root, _names: None)
    return path


def answer(policy: Path) -> int:
    return subprocess.run([policy, "rabbitmq-server", "start"], check=False).returncode


def own(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_starts_are_forbidden_only_while_packages_are_installed(policy: Path) -> None:
    with packages._no_service_starts(AS_CALLER):
        assert answer(policy) == 101
    assert list(policy.parent.iterdir()) == []


def test_somebodys_own_policy_comes_back_unchanged(policy: Path) -> None:
    own(policy, ALLOWS)
    with packages._no_service_starts(AS_CALLER):
        assert answer(policy) == 101
    assert policy.read_text() == ALLOWS
    assert policy.stat().st_mode & 0o777 == 0o755
    assert list(policy.parent.iterdir()) == [policy]


def test_a_policy_that_forbids_already_is_not_touched(policy: Path) -> None:
    own(policy, FORBIDS)
    with packages._no_service_starts(AS_CALLER):
        assert policy.read_text() == FORBIDS
    assert policy.read_text() == FORBIDS


def test_a_policy_left_behind_by_a_dead_process_forbids_nothing(policy: Path) -> None:
    with packages._no_service_starts(AS_CALLER):
        left = policy.read_text()
    own(policy, left.replace("kill -0 ", "kill -0 4194305 # "))  # above every process id
    assert answer(policy) == 0


def test_what_a_killed_run_left_is_put_back_by_the_next(policy: Path) -> None:
    own(policy, ALLOWS)
    killed = packages._no_service_starts(AS_CALLER)
    killed.__enter__()
    with packages._no_service_starts(AS_CALLER):
        assert answer(policy) == 101
    assert policy.read_text() == ALLOWS


def test_no_cluster_is_created_and_the_setting_comes_back(clusters: Path) -> None:
    before = clusters.read_text()
    with packages._no_cluster(AS_CALLER, ("postgresql", "rabbitmq-server")):
        assert "\ncreate_main_cluster = false\n" in clusters.read_text()
        assert "ssl = on" in clusters.read_text()
    assert clusters.read_text() == before


def test_the_setting_is_left_alone_for_other_packages(clusters: Path) -> None:
    with packages._no_cluster(AS_CALLER, ("rabbitmq-server",)):
        assert "create_main_cluster = false" not in clusters.read_text()


def test_without_apt_or_rights_the_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1000)
    for found in ({}, {"apt-get": "/usr/bin/apt-get"}):
        monkeypatch.setattr("shutil.which", found.get)
        with pytest.raises(StackError, match=r"sudo apt-get install -y postgresql$") as refused:
            packages.become_root(packages.POSTGRES)
        assert "\n" not in str(refused.value)
