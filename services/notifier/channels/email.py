"""Tell a person: a mail in plain text and HTML over SMTP.

A repeat has the same Message-ID, made of the event and the delivery, and the event's id in
X-Pointmill-Event.
"""

import contextlib
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from services.notifier.channels.notice import GiveUp, Notice, TryAgain
from services.notifier.letter import (
    Facts,
    Letter,
    Product,
    compose,
    one_line,
    write_html,
    write_text,
)
from services.notifier.resources import Notifier
from shared.messages import Unreadable, read_data
from shared.messages.envelope import Envelope
from shared.messages.jobs import JobFacts

STEP_SECONDS = 10.0
QUIT_SECONDS = 2.0
ON_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


async def send(notifier: Notifier, notice: Notice) -> None:
    """Deliver the notice.

    Raises:
        NotDelivered: why not, and what follows.
        DatabaseUnavailable: nothing was sent.
    """
    letter = await write_letter(notifier, notice)
    mail = write_mail(letter, notice, notifier.settings.mail_from)
    await hand_over(mail, notifier.settings.smtp_url.get_secret_value())


async def write_letter(notifier: Notifier, notice: Notice) -> Letter:
    """The letter about the notice's event.

    Raises:
        GiveUp: the event is not one this version can read.
    """
    try:
        message = read_data(Envelope.model_validate(notice.message))
    except (Unreadable, ValueError) as error:
        raise GiveUp("This version of the notifier cannot read the event.") from error
    if not isinstance(message, JobFacts):
        raise GiveUp("The event is not about a job.")
    row = await notifier.database.row(
        "read_facts", notice.workspace_id, notice.job_id, message.cloud_id, message.kind
    )
    if row is None:
        raise GiveUp("The workspace was deleted.")
    products = await notifier.database.rows("list_products", notice.workspace_id, notice.job_id)
    facts = Facts(**dict(row), products=[Product(**dict(product)) for product in products])
    base = str(notifier.settings.public_url).rstrip("/")
    return compose(message, facts, notice.event_id, base)


def write_mail(letter: Letter, notice: Notice, sender: str) -> EmailMessage:
    """The mail that carries a letter.

    Raises:
        GiveUp: the recipient's address cannot stand in a mail.
    """
    name, address = parseaddr(sender)
    mail = EmailMessage(policy=policy.SMTP)
    try:
        mail["To"] = Address(addr_spec=read_address(notice.recipient))
    except (MessageError, ValueError, IndexError) as error:
        raise GiveUp("The mail address is not one that mail can be sent to.") from error
    mail["From"] = Address(name, addr_spec=read_address(address))
    mail["Subject"] = one_line(letter.subject, 200)
    mail["Date"] = formatdate()
    mail["Message-ID"] = message_id(notice.event_id, notice.id, address)
    mail["X-Pointmill-Event"] = str(notice.event_id)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies
    mail.set_content(write_text(letter), cte="quoted-printable")
    mail.add_alternative(write_html(letter), subtype="html", cte="quoted-printable")
    return mail


def message_id(event_id: UUID, delivery_id: UUID, sender: str) -> str:
    """The same for every try of a delivery."""
    return f"<{event_id}.{delivery_id}@{read_address(sender).rpartition('@')[2]}>"


def read_address(text: str) -> str:
    """A mail address with its domain in ASCII.

    Raises:
        ValueError: it is none.
    """
    local, at, domain = text.rpartition("@")
    if not (local and at and domain) or not text.isprintable():
        raise ValueError("This is no mail address.")
    return f"{local}@{domain.encode('idna').decode()}"


def open_client(url: str) -> aiosmtplib.SMTP:
    """A client for the mail server. A password leaves this machine only under TLS."""
    parts = urlsplit(url)
    encrypted = parts.scheme == "smtps"
    must_encrypt = bool(parts.username) and parts.hostname not in ON_THIS_MACHINE
    return aiosmtplib.SMTP(
        hostname=parts.hostname,
        port=parts.port or (465 if encrypted else 587 if parts.username else 25),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        use_tls=encrypted,
        # None: where the server offers it.
        start_tls=True if must_encrypt and not encrypted else None if not encrypted else False,
        timeout=STEP_SECONDS,
    )


async def hand_over(mail: EmailMessage, url: str) -> None:
    """Give a mail to the mail server.

    Raises:
        TryAgain: the server is away, or says later (4xx), or does not take our password.
        GiveUp: the server says never (5xx).
    """
    client = open_client(url)
    try:
        await client.connect()
        await client.send_message(mail)
    except (SMTPAuthenticationError, SMTPConnectResponseError, SMTPHeloError) as error:
        # Between the operators and their server; the recipient has nothing to do with it.
        raise TryAgain(f"The mail server does not serve us ({error.code}).") from error
    except SMTPRecipientsRefused as error:
        raise _refusal(error.recipients[0]) from error
    except SMTPResponseException as error:
        raise _refusal(error) from error
    except (SMTPException, OSError) as error:
        raise TryAgain(f"The mail server was not reached ({type(error).__name__}).") from error
    finally:
        # The mail is the server's by now; a farewell without an answer changes nothing.
        with contextlib.suppress(SMTPException, OSError):
            if client.is_connected:
                await client.quit(timeout=QUIT_SECONDS)
        client.close()


def _refusal(error: SMTPResponseException) -> GiveUp | TryAgain:
    reason = one_line(f"The mail server answered {error.code} {error.message}", 300)
    return GiveUp(reason) if error.code >= 500 else TryAgain(reason)
