"""`denizen mail list | show | send | retry | test`."""

from __future__ import annotations

from email import message_from_bytes, policy
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from denizen.core.commands import REFUSED, Json, Output, command, open_accounts
from denizen.core.errors import Invalid
from denizen.core.identifiers import clean_email
from denizen.core.ids import new_id, parse_id
from denizen.mail import crud, service
from denizen.mail.errors import MailNotFound

if TYPE_CHECKING:
    from uuid import UUID

app = typer.Typer(help="Look at mails, and send them.")

COLUMNS: Final = ("id", "template", "address", "state", "created_at", "attempts", "error")
MailId = Annotated[str, typer.Argument(metavar="ID", help="Of the mail: denizen mail list.", show_default=False)]


class State(StrEnum):
    """What a mail is up to."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    KEPT = "kept"


@app.command("list")
@command
async def list_(
    state: Annotated[State | None, typer.Option(help="Only these.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List mails, the newest first: to whom, and what became of them.

    Example: denizen mail list

    Example: denizen mail list --state failed --json
    """
    async with open_accounts() as accounts, accounts.database.read.slow() as db:
        rows = await crud.list_mails(db, state=state, limit=limit)
    Output(as_json).table(rows, columns=COLUMNS, empty="No mails.")


@app.command()
@command
async def show(mail: MailId, as_json: Json = False) -> None:
    """Show a mail as it is sent: its headers and its text. What was sent is forgotten.

    Example: denizen mail show 019a5c1e-7f00-7a11-8b22-3c33d44e55f6
    """
    from denizen.mail.adapters.message import compose

    mail_id = _id_of(mail)
    async with open_accounts() as accounts:
        async with accounts.database.read.session() as db:
            found = await crud.get_mail(db, mail_id)
        letter = await service.read_letter(accounts, found)
        settings = accounts.settings
    output = Output(as_json)
    facts: dict[str, Any] = {name: getattr(found, name) for name in crud.SHOWN}
    if as_json or letter is None:
        output.row(facts | ({} if letter is None else letter._asdict()), title="Mail")
        output.say("It was sent, and what it said is forgotten." if letter is None else "")
        return
    envelope = compose(letter, mail_id=found.id, to=found.address, written_at=found.created_at, settings=settings)
    headers = message_from_bytes(envelope.content, policy=policy.default)
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        output.line(f"{name}: {headers[name]}")
    output.line(f"State: {found.state}{f' ({found.error})' if found.error else ''}")
    output.line(f"\n{letter.text}")


@app.command()
@command
async def send(as_json: Json = False) -> None:
    """Send now what waits, also what would be tried again later only. Exits with 1 when a mail could not be sent.

    Example: denizen mail send
    """
    from denizen.mail.adapters.smtp import MailServer
    from denizen.mail.batches import send_due

    async with open_accounts() as accounts:
        MailServer.of(accounts.settings)  # which says what is missing
        async with accounts.writing() as db:
            await crud.make_due(db, at=accounts.clock())
        done = await send_due(accounts)
    output = Output(as_json)
    output.row({name: done[name] for name in ("sent", "later", "failed")}, title="Mails")
    if done["later"] or done["failed"]:
        output.say("What the mail server said: denizen mail list")
        raise typer.Exit(REFUSED)


@app.command()
@command
async def retry(
    mail: Annotated[str | None, typer.Argument(metavar="[ID]", help="One mail.", show_default=False)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that were given up.")] = False,
    kept: Annotated[bool, typer.Option("--kept", help="All from before there was a mail server.")] = False,
    as_json: Json = False,
) -> None:
    """Let mails be sent that were given up or kept, by the server or denizen mail send. Links in them may be over.

    Example: denizen mail retry 019a5c1e-7f00-7a11-8b22-3c33d44e55f6

    Example: denizen mail retry --failed
    """
    if sum((mail is not None, failed, kept)) != 1:
        raise Invalid("Say which: the id of a mail, --failed or --kept.")
    async with open_accounts() as accounts:
        if mail is not None:
            await service.send_again(accounts, _id_of(mail))
            count = 1
        else:
            count = await service.send_all_again(accounts, "failed" if failed else "kept")
    output = Output(as_json)
    output.row({"waiting": count}, title="Mails")
    if accounts.settings.mail_url is None:
        output.warn("There is no mail server: DENIZEN_MAIL_URL is not set.")


@app.command("test")
@command
async def send_test(
    address: Annotated[str, typer.Argument(help="Where to send it.", show_default=False)], as_json: Json = False
) -> None:
    """Send a test letter straight away, and show what the mail server said. It needs no database.

    Example: denizen mail test ada@example.org
    """
    from denizen.core.accounts import utc_now
    from denizen.mail.adapters.message import compose
    from denizen.mail.adapters.smtp import Connection, MailServer
    from denizen.mail.templates import render
    from denizen.settings import Settings

    settings = Settings.load()
    server, to = MailServer.of(settings), clean_email(address)
    values = {"site": settings.site_name, "base_url": settings.base_url, "email": to}
    letter = render("test", values, language=settings.mail_language, folder=settings.mail_templates)
    connection = Connection(server)
    try:
        said = await connection.send(compose(letter, mail_id=new_id(), to=to, written_at=utc_now(), settings=settings))
    finally:
        await connection.close()
    Output(as_json).row({"server": server.where, "address": to, "answer": said}, title="Sent")


def _id_of(text: str) -> UUID:
    found = parse_id(text)
    if found is None:
        raise MailNotFound("There is no mail of this id. Look it up: denizen mail list")
    return found
