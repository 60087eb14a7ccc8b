"""Blinker signals, sent with the application as sender."""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

holder_logged_in = _signals.signal("cps-holder-logged-in")
"""After a login: `holder` (VerifiedHolder), `reader` (name of the reader, None if remote)."""

card_linked = _signals.signal("cps-card-linked")
"""A card was linked to an account: `holder` (VerifiedHolder), `user` (who is logged in)."""

login_refused = _signals.signal("cps-login-refused")
"""A login was asked for and refused: `error` (a leaf of `cps_auth.errors`)."""

session_ended = _signals.signal("cps-session-ended")
"""A session is over: `session` (SessionRow), `reason` (EndReason). May come from the
watcher's thread, outside of any request."""
