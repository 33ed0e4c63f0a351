"""Servers that somebody else runs are used by their address, with the services' own users."""

from pathlib import Path

import pytest

from deploy.local.folder import Folder
from deploy.local.servers import Broker, Database, storage_url


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "state")
    folder.open()
    return folder


def test_an_external_database_is_reached_under_each_role(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://owner:secret@db.example:6432/mill?sslmode=require"
    monkeypatch.setenv("POINTMILL_EXTERNAL_DATABASE_URL", url)
    database = Database(folder)
    password = folder.secret("postgres:gateway")
    assert database.url("pointmill") == url
    assert (
        database.url("gateway")
        == f"postgresql://gateway:{password}@db.example:6432/mill?sslmode=require"
    )


def test_an_external_server_is_named_without_its_password(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTMILL_EXTERNAL_DATABASE_URL", "postgresql://o:hush@db.example/mill")
    monkeypatch.setenv("POINTMILL_EXTERNAL_AMQP_URL", "amqp://o:hush@mq.example/mill")
    for server in (Database(folder), Broker(folder)):
        line = server.start(lambda _part, _start: pytest.fail("started something"))
        assert "external" in line
        assert ".example/mill" in line
        assert "hush" not in line


def test_an_external_brokers_management_address_is_guessed_or_told(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTMILL_EXTERNAL_AMQP_URL", "amqp://o:hush@mq.example:5673/mill")
    assert Broker(folder).admin_url == "http://o:hush@mq.example:15672"
    monkeypatch.setenv("POINTMILL_EXTERNAL_AMQP_ADMIN_URL", "https://a:b@mq.example")
    assert Broker(folder).admin_url == "https://a:b@mq.example"


def test_objects_go_to_the_folder_unless_a_bucket_is_named(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage_url(folder)[0] == (folder.path / "objects").as_uri()
    monkeypatch.setenv("POINTMILL_EXTERNAL_STORAGE_URL", "gs://bucket/prefix")
    assert storage_url(folder)[0] == "gs://bucket/prefix"
