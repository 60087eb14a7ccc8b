"""A worker of an earlier version, as a process of its own: answers requests that stdin brings.

Run with that version's `cps_auth` first on the path. A line in is a request, a line out its
answer, both JSON; the browser's cookies travel with them, so several workers can share one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import login_required

from cps_auth.flask import CpsLogin
from cps_auth.pki.judge import folder_judge

HOST = "practice.test"


def make_app(config: dict[str, Any], pki: Path) -> Flask:
    """Return an application that takes cards from elsewhere."""
    app = Flask("older")
    app.config.update(config)
    CpsLogin(app, judge=folder_judge(pki))
    app.add_url_rule("/me", view_func=login_required(lambda: "in"))
    return app


def answer(app: Flask, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request, and the cookies that the browser has then."""
    client = app.test_client()
    for name, value in asked["cookies"].items():
        client.set_cookie(name, value, domain=HOST, secure=True)
    given = client.open(
        asked["path"],
        method=asked["method"],
        base_url=f"https://{HOST}",
        headers=asked["headers"],
        data=asked["body"].encode(),
    )
    cookies = {cookie.key: cookie.value for cookie in (client._cookies or {}).values()}
    return {"status": given.status_code, "text": given.text, "cookies": cookies}


def main() -> None:
    """Serve until stdin ends."""
    pki, config = Path(sys.argv[1]), json.loads(sys.argv[2])
    app = make_app(config, pki)
    print(json.dumps({"package": str(Path(sys.modules["cps_auth"].__file__ or ""))}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(app, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
