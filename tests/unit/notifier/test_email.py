"""The mail around a letter: its headers, and the client that carries it."""

from email import message_from_bytes, policy
from uuid import UUID

import pytest

from services.notifier.channels.email import open_client, write_mail
from services.notifier.channels.notice import GiveUp, Notice
from services.notifier.letter import Letter

EVENT, DELIVERY = UUID(int=1), UUID(int=2)
SENDER = "Pointmill <mill@example.test>"


def notice(recipient: str = "you@example.test", tries: int = 1) -> Notice:
    return Notice(DELIVERY, UUID(int=3), EVENT, UUID(int=4), "email", recipient, "email", {}, tries)


def test_a_repeat_is_the_same_mail() -> None:
    letter = Letter("Milled: town.laz", "town.laz is milled")
    first, second = (write_mail(letter, notice(tries=tries), SENDER) for tries in (1, 2))
    assert first["Message-ID"] == second["Message-ID"] == f"<{EVENT}.{DELIVERY}@example.test>"
    assert first["X-Pointmill-Event"] == str(EVENT)
    assert first["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "subject",
    [
        "x\r\nBcc: all@example.test",
        "x\nBcc: all@example.test",
        "x\r\n\r\n<p>body</p>",
        "x\x0bBcc: y",
    ],
)
def test_a_name_adds_no_header(subject: str) -> None:
    mail = write_mail(Letter(subject, "x"), notice(), SENDER)
    read = message_from_bytes(mail.as_bytes(), policy=policy.default)
    assert set(read.keys()) == {
        "To", "From", "Subject", "Date", "Message-ID", "X-Pointmill-Event", "Auto-Submitted",
        "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert str(read["Subject"]).startswith("x ")


def test_every_script_of_the_world_arrives() -> None:
    mail = write_mail(
        Letter("Milled: 点云 größe.laz", "点云 größe.laz is milled"), notice(), SENDER
    )
    data = mail.as_bytes()
    assert data.isascii()
    read = message_from_bytes(data, policy=policy.default)
    assert read["Subject"] == "Milled: 点云 größe.laz"
    part = read.get_body(("plain",))
    assert part is not None
    assert part.get_content().startswith("点云 größe.laz is milled")


@pytest.mark.parametrize(
    "recipient",
    ["you@example.test\r\nBcc: all@example.test", "a@b@c@", "@example.test", "you@", "you", "",
     "you@exa mple.test", "<you@example.test>", "a,b@example.test", "you@" + "x" * 300],
)  # fmt: skip
def test_an_address_that_cannot_stand_in_a_mail_ends_the_delivery(recipient: str) -> None:
    with pytest.raises(GiveUp):
        write_mail(Letter("x", "x"), notice(recipient), SENDER)


def test_a_domain_of_another_script_is_written_in_ascii() -> None:
    mail = write_mail(Letter("x", "x"), notice("du@müller.example"), SENDER)
    assert mail["To"] == "du@xn--mller-kva.example"


def test_the_mail_server_is_read_from_its_url() -> None:
    client = open_client("smtps://mill:p%40ss@mail.example.org")
    assert (client.hostname, client.port, client.use_tls) == ("mail.example.org", 465, True)
    assert (client._login_username, client._login_password) == ("mill", "p@ss")
    plain = open_client("smtp://127.0.0.1:2525")
    assert (plain.port, plain.use_tls, plain._login_username) == (2525, False, None)


@pytest.mark.parametrize(
    ("url", "encrypts"),
    [("smtp://mill:pw@mail.example.org", True), ("smtp://mill:pw@127.0.0.1", None),
     ("smtp://mail.example.org", None), ("smtps://mill:pw@mail.example.org", False)],
)  # fmt: skip
def test_a_password_leaves_the_machine_only_encrypted(url: str, encrypts: bool | None) -> None:
    assert open_client(url)._start_tls_on_connect is encrypts
