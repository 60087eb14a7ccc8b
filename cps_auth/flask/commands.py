"""`flask cps sessions` and `flask cps end`: what the administrator sees and may end."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.flask.state import current_state


def session_commands() -> AppGroup:
    """Return the group of commands of one application."""
    group = AppGroup("cps", help="Sessions that were opened with a CPS card.")
    group.command("sessions")(list_sessions)
    group.command("end")(end_sessions)
    return group


def list_sessions() -> None:
    """List the open sessions: handle, since when, login method, holder."""
    state = current_state()
    for row in state.stores.sessions.live(at=state.clock()):
        click.echo(_line(row))


@click.argument("handles", nargs=-1, metavar="[HANDLE]...")
@click.option("--holder", metavar="PS_IDNAT", help="Every session of this holder.")
@click.option("--all", "everybody", is_flag=True, help="Every session.")
def end_sessions(handles: tuple[str, ...], holder: str | None, everybody: bool) -> None:
    """End sessions now: by handle, by holder, or all of them."""
    state = current_state()
    at = state.clock()
    wanted = [
        row
        for row in state.stores.sessions.live(at=at)
        if everybody or row.handle in handles or row.holder.practitioner.ps_idnat == holder
    ]
    for row in wanted:
        for ended in state.stores.sessions.end_handle(row.handle, EndReason.ADMINISTRATOR, at=at):
            state.tell_ended(ended)
            click.echo(_line(ended))
    unknown = set(handles) - {row.handle for row in wanted}
    if unknown:
        raise click.ClickException(f"no open session: {', '.join(sorted(unknown))}")


def _line(row: SessionRow) -> str:
    practitioner = row.holder.practitioner
    return "  ".join(
        (
            row.handle,
            row.created_at.isoformat(timespec="seconds"),
            row.method,
            practitioner.ps_idnat,
            practitioner.display_name,
        )
    )
