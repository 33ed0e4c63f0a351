"""The stack's notes: kept whole, private, per checkout, and explained where they cannot be used."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from deploy.local import children, ports
from deploy.local.children import Account, Child
from deploy.local.errors import StackError
from deploy.local.folder import Folder


def opened(path: Path) -> Folder:
    folder = Folder(path)
    folder.open()
    return folder


def test_secrets_ports_and_children_are_the_same_after_reopening(tmp_path: Path) -> None:
    first = opened(tmp_path / "state")
    secret, port = first.secret("key"), first.port("gateway")
    first.keep("gateway", Child(os.getpid(), 1, "python", signal.SIGTERM, 5, "digest"))
    second = opened(tmp_path / "state")
    assert (second.secret("key"), second.port("gateway")) == (secret, port)
    assert second.notes.children == first.notes.children


def test_the_notes_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    folder.secret("key")
    assert (folder.path / "state.json").stat().st_mode & 0o777 == 0o600


def test_two_parts_never_get_one_port(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    chosen = [folder.port(f"part-{number}") for number in range(20)]
    assert len(set(chosen)) == 20
    assert all(ports.LOWEST <= port <= ports.HIGHEST for port in chosen)


def test_a_part_moves_from_a_taken_port_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = opened(tmp_path / "state")
    before = folder.port("gateway")
    with socket.create_server(("127.0.0.1", before)):
        assert folder.port("gateway") != before
    assert f"Port {before} is taken by another program; gateway moves to" in capsys.readouterr().out


def test_a_port_is_free_again_right_after_its_server_closed_connections() -> None:
    port = ports.choose(set(), "lingering")
    with socket.create_server(("127.0.0.1", port)) as server:
        client = socket.create_connection(("127.0.0.1", port))
        taken, _ = server.accept()
        taken.close()  # the server closes first, so its side lingers
        client.close()
    assert ports.is_free(port)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"folder": 3, "children": 4}'])
def test_notes_that_cannot_be_read_are_explained_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state"
    path.mkdir()
    (path / "state.json").write_text(text)
    with pytest.raises(StackError, match="make clean") as refused:
        opened(path)
    assert "\n" not in str(refused.value)


def test_notes_of_another_version_are_explained(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    folder.save()
    notes = json.loads((folder.path / "state.json").read_text())
    (folder.path / "state.json").write_text(json.dumps(notes | {"version": 99}))
    with pytest.raises(StackError, match="version 99"):
        opened(folder.path)


def test_a_copied_folder_is_refused_and_a_moved_one_goes_on(tmp_path: Path) -> None:
    original = opened(tmp_path / "a")
    secret = original.secret("key")
    copy = tmp_path / "b"
    copy.mkdir()
    (copy / "state.json").write_bytes((original.path / "state.json").read_bytes())
    with pytest.raises(StackError, match="is a copy of"):
        opened(copy)
    (original.path / "state.json").unlink()
    assert opened(copy).secret("key") == secret


def test_a_second_command_waits_for_the_first(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    order: list[str] = []

    def second() -> None:
        with opened(folder.path).lock():
            order.append("second")

    with folder.lock():
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.3)
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]


def test_a_lock_that_is_never_given_back_is_explained(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    with folder.lock(), pytest.raises(StackError, match="another command"):
        Folder(folder.path).lock(seconds=0.1).__enter__()


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_data_go_elsewhere_when_their_account_cannot_reach_the_folder(tmp_path: Path) -> None:
    nobody = Account("nobody", 65534, 65534)
    folder = opened(tmp_path / "closed" / "state")
    folder.path.parent.chmod(0o700)
    elsewhere = folder.data("postgres", nobody)
    assert elsewhere.is_relative_to("/var/tmp")  # noqa: S108 -- the place is what is tested
    folder.make_private(elsewhere, nobody)
    try:
        assert elsewhere.stat().st_uid == nobody.uid
        reach = [*children.as_account(nobody), "test", "-w", str(elsewhere)]
        assert subprocess.run(reach, check=False).returncode == 0
    finally:
        folder.remove()
    assert not elsewhere.parent.exists()
