"""The operator's words to the policy gate: switches, block list, audit log. A running server follows within a second."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from polarlight.base.errors import UserError

from .terminal import result

Capability = Annotated[
    str,
    typer.Argument(metavar="CAPABILITY", help="all, draw, edit, edit_people, video, world, film, caption or publish."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is written down.")]
Day = Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="A day, in UTC.")]
PLACE = "A picture file, or a PDQ hash of 64 hexadecimal digits."

policy_app = typer.Typer(
    help="Switch things off, block pictures, read the audit log.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
audit_app = typer.Typer(help="Check, copy or shorten the audit log.", no_args_is_help=True, rich_markup_mode=None)
policy_app.add_typer(audit_app, name="audit")


@policy_app.command()
def status() -> None:
    """Show the switches, the block list, the audit log."""
    from polarlight.infer.policy_switches import CAPABILITIES

    gate = _gate()
    off, hold = gate.switches.all_off(), gate.audit.held()
    for name in CAPABILITIES:
        print(f"{name:12} {'off: ' + off[name] if name in off else 'on'}", file=sys.stderr)
    result(
        folder=gate.folder, off=off, blocked=len(gate.blocked()), hold=hold, records=sum(1 for _ in gate.audit.records()),
        gate_version=gate.version,
    )  # fmt: skip


@policy_app.command()
def off(capability: Capability, reason: Reason = "the operator switched it off") -> None:
    """Switch a capability off, at every door.

    A running server follows within a second. Users are told the reason.
    """
    gate = _gate()
    gate.turn_off(capability, reason)
    result(capability=capability, on=False, reason=reason, off=gate.switches.all_off())


@policy_app.command()
def on(capability: Capability) -> None:
    """Switch a capability on again."""
    gate = _gate()
    gate.turn_on(capability)
    result(capability=capability, on=True, off=gate.switches.all_off())


@policy_app.command()
def takedown(
    place: Annotated[str, typer.Argument(metavar="PICTURE", help=PLACE)],
    reason: Reason = "",
) -> None:
    """Block a picture and delete its copies.

    It goes neither in nor out from now on; it and its copies are deleted from what the server stores; the answer names the
    outputs in the audit log that were copies of it.
    """
    from polarlight.serve.settings import Settings

    hash_ = _hash_of(place)
    named = _gate().takedown(hash_, reason)
    from polarlight.serve.state import State

    state = State.open(Settings.from_environment())
    try:
        deleted = [file.id for file in state.files.take_down(pdq=hash_)]
    finally:
        state.close()
    result(hash=hash_, outputs=named, deleted=deleted)


@policy_app.command()
def block(
    places: Annotated[list[str], typer.Argument(metavar="PICTURE...", help=f"{PLACE} Or a .txt list of hashes.")],
    reason: Reason = "",
) -> None:
    """Add pictures to the block list.

    They go neither in nor out any more.
    """
    from polarlight.media.pdq import BlockList

    entries: list[tuple[str, str]] = []
    for place in places:
        entries += list(BlockList.load(place)) if place.endswith(".txt") else [(_hash_of(place), reason)]
    gate = _gate()
    added = gate.block(entries, reason)
    result(added=added, blocked=len(gate.blocked()))


@policy_app.command()
def hold(reason: Annotated[str, typer.Argument(metavar="REASON", help="Why nothing may be pruned.")]) -> None:
    """Forbid the pruning of the audit log."""
    _gate().audit.hold(reason)
    result(hold=reason)


@policy_app.command()
def release() -> None:
    """End the hold on the audit log."""
    _gate().audit.release()
    result(hold=None)


@audit_app.command()
def verify() -> None:
    """Check that nothing was changed, removed or added.

    Exit code 1 where something was. Keep `last` elsewhere from time to time: a log whose end was cut off looks whole.
    """
    log = _gate().audit
    if problem := log.verify():
        print(f"polarlight: {problem}", file=sys.stderr)
        result(whole=False, problem=problem)
        raise typer.Exit(1)
    count, last = 0, None
    for record in log.records():
        count, last = count + 1, record["hash"]
    result(whole=True, records=count, last=last)


@audit_app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the records, one JSON object a line.")],
    since: Day = "",
    until: Day = "",
) -> None:
    """Copy the records of a span of days to a file."""
    count = _gate().audit.export(file, *_span(since, until))
    result(file=file, records=count)


@audit_app.command()
def prune(before: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="The first day that stays, in UTC.")]) -> None:
    """Drop the records before a day. A hold forbids it."""
    result(dropped=_gate().audit.prune(_start_of(before)))


def _gate() -> Any:
    from polarlight.infer.policy import Gate
    from polarlight.serve.settings import Settings

    return Gate.at(Settings.from_environment().home)


def _hash_of(place: str) -> str:
    """The PDQ hash that a text is, or that the picture at a path has."""
    from polarlight.media.pdq import HEX, pdq_hash

    if HEX.fullmatch(place.lower()):
        return place.lower()
    from polarlight.media.pictures import load_picture

    return pdq_hash(load_picture(place)).hex


def _span(since: str, until: str) -> tuple[float, float]:
    return _start_of(since) if since else 0.0, _start_of(until) if until else float("inf")


def _start_of(day: str) -> float:
    """Seconds since 1970 at the start of a day."""
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise UserError(f"{day!r} is not a day.", fix="Write YYYY-MM-DD, for example 2026-11-22.") from error
