"""From a page to its token in Chromium: our native host, beside a bare one of a few lines.

The person answers at once and the card is in the host's process. From the request on, until the
signature is there, is the time of window, person and card: each host says how long that was,
and it is left out. Both hosts are started for every token.
"""

from __future__ import annotations

import shlex
import statistics
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from playwright.sync_api import Route, sync_playwright

from benchmarks.timing import Figure
from cps_auth.native_host import manifests
from hardware_mocks.igc.fake_igc import FakeIgcSante

ORIGIN = "https://practice.test"
EXTENSION = Path(__file__).parents[1] / "webextension"
ROUNDS = 15

_TOKEN = """() => new Promise((done, failed) => {
  addEventListener("message", ({data}) => {
    if (data?.action === "web-eid:authenticate-success") done(data.signature);
    if (data?.action === "web-eid:authenticate-failure") failed(new Error(data.error.message)); });
  postMessage({action: "web-eid:authenticate", challengeNonce: "A".repeat(44)}); })"""

_PERSON = """
import json, os, sys
for line in sys.stdin:
    if json.loads(line)["kind"] == "pin":
        os.write(1, b"P12340")
"""

_OURS = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from cps_auth.native_host.conversation import Host
from cps_auth.native_host.pin_window import PinWindow

FOLDER = Path({folder!r})

asked_at = []

def cards():
    from cryptography.hazmat.primitives.serialization import load_der_private_key
    from cps_auth.card.native.source import NativeCards
    from cps_auth.native_host.authentication import Login
    from hardware_mocks.personas import PERSONAS, CardCredentials
    from hardware_mocks.card.virtual_card import VirtualCard
    from hardware_mocks.readers.virtual_readers import VirtualReaders
    key = load_der_private_key((FOLDER / "key").read_bytes(), None)
    certificate = (FOLDER / "certificate").read_bytes()
    readers = VirtualReaders("Reader")
    pairs = CardCredentials(certificate, key, certificate, key)
    readers.insert("Reader", VirtualCard(PERSONAS["doctor"], pairs))
    run = Login.run
    Login.run = lambda login, challenge: signed(run(login, challenge))
    return NativeCards(readers.service)

def signed(it):
    (FOLDER / "beside").write_text(str(time.monotonic() - asked_at[0]))
    return it

class Window(PinWindow):
    def __init__(self):
        asked_at.append(time.monotonic())
        super().__init__(Path(sys.executable), FOLDER / "person.py")

Host(
    browser_in=0, browser_out=1, cards=cards, reader=None, judge=lambda: None, language="fr",
    window=Window, clock=lambda: datetime.now(UTC),
).serve()
"""

_BARE = """
import base64, hashlib, json, os, struct, time
from pathlib import Path
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import load_der_private_key

FOLDER = Path({folder!r})

def say(message):
    text = json.dumps(message).encode()
    os.write(1, struct.pack("=I", len(text)) + text)

say({{"version": "2.9.0+1"}})
(length,) = struct.unpack("=I", os.read(0, 4))
asked = json.loads(os.read(0, length))["arguments"]
asked_at = time.monotonic()
message = b"".join(
    hashlib.sha256(asked[name].encode()).digest() for name in ("origin", "challengeNonce")
)
key = load_der_private_key((FOLDER / "key").read_bytes(), None)
signature = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
(FOLDER / "beside").write_text(str(time.monotonic() - asked_at))
certificate = (FOLDER / "certificate").read_bytes()
say({{"unverifiedCertificate": base64.b64encode(certificate).decode(), "algorithm": "RS256",
     "signature": base64.b64encode(signature).decode(), "format": "web-eid:1.0",
     "appVersion": "https://bare.test"}})
"""


def page_to_token(igc: FakeIgcSante, folder: Path) -> Figure:
    """A click's worth: page, extension, a host that is started, and back."""
    here = folder / "browser"
    here.mkdir()
    card = igc.credentials("doctor")
    der, plain = Encoding.DER, NoEncryption()
    key = card.authentication_key.private_bytes(der, PrivateFormat.PKCS8, plain)
    (here / "key").write_bytes(key)
    (here / "certificate").write_bytes(card.authentication_certificate_der)
    (here / "person.py").write_text(_PERSON)
    for name, text in (("ours", _OURS), ("bare", _BARE)):
        (here / name).write_text(text.format(folder=str(here)))
    place = manifests.Place.of_user(here)
    manifests.install(place, browsers=("chromium",), also_allowed=(), replace=False)
    with sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            here / ".config/chromium",
            executable_path="/usr/bin/chromium",
            headless=False,
            ignore_default_args=["--disable-extensions"],
            env={"HOME": str(here)},
            args=["--no-sandbox", "--headless=new", f"--load-extension={EXTENSION}",
                  f"--disable-extensions-except={EXTENSION}"],
        )  # fmt: skip
        context.route(f"{ORIGIN}/**", _empty_page)
        page = context.new_page()
        page.goto(f"{ORIGIN}/")
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        for turn in range(ROUNDS + 1):
            for host, taken in seconds.items():
                _start_next(place, here / host)
                begun = time.perf_counter()
                page.evaluate(_TOKEN)
                whole = time.perf_counter() - begun
                if turn:
                    taken.append(whole - float((here / "beside").read_text()))
        context.close()
    ours_s, bare_s = map(statistics.median, seconds.values())
    title = "from a page to its token in Chromium, beside PIN and card"
    return Figure(title, "our host", "a bare host of a few lines", ours_s, bare_s)


def _empty_page(route: Route) -> None:
    route.fulfill(body="<title>bench</title>", content_type="text/html")


def _start_next(place: manifests.Place, script: Path) -> None:
    launcher = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))}\n"
    place.launcher.write_text(launcher)


FIGURES = (page_to_token,)
