"""The service's words on the command line: serve, keys, usage, inspect. Annotations stay plain types: typer reads them."""

import json
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from polarlight.base.errors import UserError

TICKS_PER_DOLLAR = 10**10
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, as `polarlight keys list` shows it.")]

keys_app = typer.Typer(
    help="Make, list and revoke the keys of the service.", no_args_is_help=True, rich_markup_mode=None
)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8080,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="polarlight[:FOLDER], diffusers:PATH or remote:URL#MODEL; may be repeated."),
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option(metavar="OTHER=NAME", help="Another name for a model; may be repeated.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Also speak gRPC, for xai-sdk, on this port (extra [grpc]).")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Processes that draw, each with a copy of the model; one a core, at most four."
        ),
    ] = None,
) -> None:
    """Serve the OpenAI- and xAI-compatible API and the studio.

    State lies under POLARLIGHT_HOME.
    """
    others = dict(_pair(text) for text in alias or [])
    from .server import open_engines
    from .server import serve as run
    from .settings import Settings

    doors = []
    if grpc_port is not None:
        from .grpc.door import GrpcDoor

        doors.append(GrpcDoor(host, grpc_port))
    engines = open_engines(model or ["polarlight"], others, processes)
    run(Settings.from_environment(), engines, host=host, port=port, doors=doors)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option("--name", help="Who or what the key is for.")],
    acl: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Like api-key:endpoint:images or api-key:model:*; everything if left out."),
    ] = None,
    per_second: Annotated[int | None, typer.Option(min=1, help="Requests a second.")] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    monthly_limit: Annotated[float | None, typer.Option(min=0.01, help="Dollars a month.")] = None,
    prepaid: Annotated[bool, typer.Option("--prepaid", help="Refuse what its credit does not cover.")] = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    limits = {"requests_per_second": per_second, "requests_per_minute": per_minute, "prepaid": prepaid}
    limits["monthly_limit_ticks"] = None if monthly_limit is None else round(monthly_limit * TICKS_PER_DOLLAR)
    with _state() as state:
        made = state.keys.create(name, **({"acls": acl} if acl else {}), **limits)
        balance = state.ledger.balance(made.key.id)
    _answer(key=made.secret, id=made.key.id, name=name, acls=list(made.key.acls), balance_ticks=balance)


@keys_app.command("list")
def keys_list() -> None:
    """Show the keys, their balances and what they spent this month."""
    from .prices import dollars

    with _state() as state:
        rows = [(key, state.ledger.balance(key.id), state.ledger.spent(key.id)) for key in state.keys.all()]
    _table(
        ("id", "name", "key", "balance", "this month", ""),
        [(k.id, k.name, k.redacted, dollars(b), dollars(s), "revoked" if k.revoked_at else "") for k, b, s in rows],
    )
    _answer(
        keys=[
            {"id": k.id, "name": k.name, "balance_ticks": b, "spent_ticks": s, "revoked": k.revoked_at is not None}
            for k, b, s in rows
        ]
    )


@keys_app.command("revoke")
def keys_revoke(key: KeyId) -> None:
    """Take a key out of use, for good."""
    with _state() as state:
        state.keys.revoke(key)
    _answer(id=key, revoked=True)


@keys_app.command("grant")
def keys_grant(
    key: KeyId,
    amount: Annotated[float, typer.Argument(metavar="DOLLARS", help="Credit to add.")],
    note: Annotated[str, typer.Option(help="What for; it stands in the ledger.")] = "",
) -> None:
    """Add credit to a key."""
    reference = f"grant/cli/{secrets.token_hex(8)}"
    with _state() as state:
        entry = state.ledger.credit(key, round(amount * TICKS_PER_DOLLAR), reference=reference, note=note)
    _answer(id=key, granted_ticks=entry.ticks, balance_ticks=entry.balance_after)


@keys_app.command("share")
def keys_share(
    key: KeyId,
    stop: Annotated[bool, typer.Option("--stop", help="Take it back: nothing of it is exported any more.")] = False,
) -> None:
    """Write down that a key's owner shares its pictures for training.

    Owners do it themselves in the studio or by POST /v1/data-sharing. What they make from words from then on can be exported.
    """
    from .sharing import sharing_of

    with _state() as state:
        state.keys.share_data(key, not stop)
        word = sharing_of(state, key)
    _answer(id=key, **vars(word))


@keys_app.command("export")
def keys_export(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the pictures and pictures.jsonl go.")],
) -> None:
    """Bring a folder up to date with the pictures that keys share for training.

    Pictures of owners who took their word back, and deleted ones, are removed from it. Repeat it before each training.
    """
    from rich.console import Console
    from rich.progress import Progress

    from .sharing import export

    with _state() as state, Progress(console=Console(file=sys.stderr)) as progress:
        bar = progress.add_task("pictures", total=None)
        made = export(state, folder, lambda number: progress.update(bar, completed=number))
        progress.update(bar, total=made.pictures, completed=made.pictures)
    _answer(folder=folder, **vars(made))


def usage(
    by: Annotated[str, typer.Option(help="Columns to total by: key, model, day.")] = "key,model,day",
    key: Annotated[str | None, typer.Option(help="One key only, by its id.")] = None,
    since: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The first day.")] = "",
    until: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The last day.")] = "9999",
) -> None:
    """Show what the keys used, and what it cost."""
    from .prices import dollars

    columns = [name.strip() for name in by.split(",") if name.strip()]
    with _state() as state:
        found = state.ledger.usage(columns, key_id=key, since=since, until=until)
    rows = [{name: getattr(row, name) for name in columns} | {"requests": row.requests} for row in found]
    costs = [row.ticks for row in found]
    _table(
        (*columns, "requests", "cost"),
        [(*map(str, row.values()), dollars(cost)) for row, cost in zip(rows, costs, strict=True)],
    )
    _answer(usage=[row | {"ticks": cost} for row, cost in zip(rows, costs, strict=True)], total_ticks=sum(costs))


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture or an MP4 file.")],
    anchor: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Certificates to trust; this installation's own if left out.")
    ] = None,
) -> None:
    """Say what a file is and who signed it; read its watermark."""
    from polarlight.media.inspection import inspect as look

    from .settings import Settings

    own = Settings.from_environment().home / "signing" / "anchor.pem"
    place = anchor or (own if own.exists() else None)
    if anchor is not None and not anchor.is_file():
        raise UserError(f"There is no certificate file {anchor}.", fix="Correct --anchor or leave it out.")
    found = look(file, place.read_text() if place else "")
    print("\n".join(found.sentences()))
    _answer(**found.to_json())


@contextmanager
def _state() -> Any:
    from .settings import Settings
    from .state import State

    state = State.open(Settings.from_environment())
    try:
        yield state
    finally:
        state.close()


def _pair(text: str) -> tuple[str, str]:
    other, sign, name = text.partition("=")
    if not (other and sign and name):
        raise UserError(
            f"An alias is written OTHER=NAME, not {text!r}.", fix="Write for example gpt-image-1=polarlight."
        )
    return other, name


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*heads)
    for row in rows:
        table.add_row(*row)
    Console(markup=False, file=sys.stderr).print(table)


def _answer(**fields: Any) -> None:
    print(json.dumps(fields, ensure_ascii=False, default=str), flush=True)
