"""A week of a practice on one booted desk: nothing is left unlocked, ended or refused wrongly.

A desk cannot set its clock, so the ten days offline are played by the revocation lists: they are
made to have ended ten days ago. A new day is a new session, opened by password; with "card in"
the daemon starts while the card is there.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.making import FILES, generate_private_key, make_card
from hardware_mocks.personas import PERSONAS
from tests.desk.booted import IGC, PIN, USER, Desk, Table, load, wait_for

OPENS_WITHIN_S, COVERED_WITHIN_S, STAYS_S = 20.0, 12.0, 0.5
DOCTOR, PHARMACIST, NURSE = "doctor", "pharmacist", "nurse"


class Week:
    """The days, and what went wrong on them."""

    def __init__(self, desk: Desk, deb: Path, cycles: int) -> None:
        self._desk, self._deb, self._cycles = desk, deb, cycles
        self._chance = random.Random()  # noqa: S311 - moments, no secrets
        self._number = 1  # of the revocation lists
        self._drawn_by = ""
        self.pulls = self.unlocks = 0
        self.uncovered: list[str] = []
        self.ended: list[str] = []
        self.refused: list[str] = []
        self.wrong: list[str] = []

    def play(self) -> None:
        """Play the days."""
        desk = self._desk
        for person in (PHARMACIST, NURSE):
            desk.put_card(person)
            time.sleep(1)
            desk.run("cps-auth", "pc", "enrol", USER, "--pin-stdin", stdin=f"{PIN}\n")
        self._day("Monday: started with the card out", DOCTOR, card_in=False)
        self._day("Tuesday: started with the card in", PHARMACIST, card_in=True)
        self._others_card(DOCTOR, PHARMACIST)
        self._day("Wednesday: the third practitioner", NURSE, card_in=False)
        self._day("Thursday: lists that end in two days", DOCTOR, card_in=False, prepare=self._warn)
        self._expect(any("end in" in line for _at, line in desk.log()), "no warning")
        self._offline()
        self._day("Friday: lists renewed", DOCTOR, card_in=True, prepare=self._renew_lists)
        self._renew_card(DOCTOR)
        self._work("Friday: card renewed", DOCTOR)
        self._upgrade()
        self._work("Saturday: after the upgrade", DOCTOR)

    # Days

    def _day(self, name: str, person: str, *, card_in: bool, prepare: object = None) -> None:
        desk = self._desk
        if callable(prepare):
            prepare()
        if card_in:
            desk.put_card(person)
            desk.run("systemctl", "restart", "pcscd", "cps-auth")
            desk.put_card(person)
        else:
            desk.take_card()
            desk.run("systemctl", "restart", "cps-auth")
        desk.follow()
        self._drawn_by = desk.drawn_by()
        desk.run("loginctl", "lock-session", desk.session_id)
        self._see(bool(wait_for(desk.is_covered, COVERED_WITHIN_S)), f"{name}: lock by hand")
        if not card_in:
            desk.put_card(person)
        time.sleep(1)
        self._work(name, person)

    def _work(self, name: str, person: str) -> None:
        """Unlock, work, pull, insert: at random moments; leaves the screen locked, card in."""
        for _cycle in range(self._cycles):
            self._unlock(f"{name} ({person})")
            time.sleep(self._chance.uniform(0, 0.8))
            self._pull(name)
            time.sleep(self._chance.uniform(0, 0.5))
            inserted_s = self._desk.insert()
            self._desk.heard(inserted_s, "card-inserted")
        print(f"{name}: {self.pulls} pulls, {self.unlocks} unlocks so far", flush=True)

    def _unlock(self, name: str) -> bool:
        """Type the code once; a second time only after it was told and counted."""
        desk = self._desk
        for attempt in (1, 2):
            if desk.desktop == "kde":
                time.sleep(1.5)
            desk.wake()
            since_s = desk.type_code() - 3
            if wait_for(lambda: not desk.is_hinted(), OPENS_WITHIN_S):
                self.unlocks += 1
                return True
            asked = any("verb=verify" in line for _at, line in desk.log(since_s))
            path = desk.scratch / f"refused-{len(self.refused)}-{attempt}"
            path.write_text(f"{name}\n{desk.evidence(since_s)}\n")
            self.refused.append(f"{name}: {'refused' if asked else 'keys not heard'}: {path}")
            print(self.refused[-1], flush=True)
        return False

    def _pull(self, name: str) -> None:
        desk = self._desk
        pulled_s = desk.pull()
        self.pulls += 1
        covered = wait_for(desk.is_covered, COVERED_WITHIN_S)
        time.sleep(STAYS_S)
        if not covered or not desk.is_covered():
            self._note(self.uncovered, f"{name}: pull {self.pulls}", pulled_s)
        if desk.drawn_by() != self._drawn_by:
            self._note(self.ended, f"{name}: pull {self.pulls}", pulled_s)

    def _note(self, what: list[str], name: str, since_s: float) -> None:
        path = self._desk.scratch / f"evidence-{self.pulls}"
        path.write_text(f"{name}\n{self._desk.evidence(since_s - 5)}\n")
        what.append(f"{name}: {path}")
        print(what[-1], flush=True)

    def _see(self, held: bool, name: str) -> None:
        if not held:
            self._note(self.uncovered, name, time.time() - 20)

    def _expect(self, held: bool, what: str) -> None:
        if not held:
            self.wrong.append(what)
            print(what, flush=True)

    # What happens on them

    def _others_card(self, other: str, owner: str) -> None:
        """The card of somebody else, enrolled too, does not open a session of the first."""
        desk, since_s = self._desk, time.time()
        desk.put_card(other)
        self._stays_locked("another holder's card opened a session")
        answers = [line for _at, line in desk.log(since_s) if "verb=verify" in line]
        refused = "outcome=holder-not-allowed"
        self._expect(bool(answers) and all(refused in line for line in answers), f"{answers}")
        desk.put_card(owner)
        time.sleep(1)

    def _stays_locked(self, else_wrong: str) -> None:
        desk = self._desk
        time.sleep(2)
        desk.wake()
        desk.type_code()
        time.sleep(6)
        self._expect(desk.is_covered(), else_wrong)

    def _lists(self, since: timedelta, until: timedelta) -> None:
        """Replace the lists by a newer issue of these dates."""
        self._number += 1
        igc, now = FakeIgcSante.load(self._desk.igc), datetime.now(UTC).replace(microsecond=0)
        for name, file in FILES.items():
            der = igc.crl(
                name, this_update=now + since, next_update=now + until, number=self._number
            )
            place = Path(f"{self._desk.root}{IGC}/crl/{file}.crl")
            place.write_bytes(der)
            place.chmod(0o644)

    def _warn(self) -> None:
        self._lists(timedelta(days=-15), timedelta(days=2))

    def _renew_lists(self) -> None:
        self._lists(timedelta(hours=-1), timedelta(days=7))

    def _offline(self) -> None:
        """Ten days without the Internet: refused and told, a code helps, grace lets in."""
        desk, since_s = self._desk, time.time()
        self._lists(timedelta(days=-12), timedelta(days=-10))
        self._stays_locked("opened with lists that are over")
        answers = [line for _at, line in desk.log(since_s) if "verb=verify" in line]
        unknown = "outcome=revocation-unknown"
        self._expect(bool(answers) and all(unknown in line for line in answers), f"{answers}")
        desk.set_up("--grace-hours", "264", check=False)  # it tells that the lists are over
        self._work("Thursday: ten days offline, grace of eleven", DOCTOR)
        desk.set_up("--grace-hours", "0", check=False)

    def _renew_card(self, person: str) -> None:
        """The same holder's new card: another key, another certificate."""
        desk = self._desk
        igc = FakeIgcSante.load(desk.igc)
        keys = [generate_private_key(65537, 2048) for _number in range(2)]
        made = make_card(PERSONAS[person], keys, igc.authorities, datetime.now(UTC))
        FakeIgcSante(igc.made_at, igc.authorities, {**igc.cards, person: made}, igc.crls).write(
            desk.igc
        )
        (desk.scratch / f"{person}.card").unlink(missing_ok=True)
        desk.put_card(person)
        time.sleep(1)

    def _upgrade(self) -> None:
        """The package anew under an open session: nothing changes before the next lock."""
        desk = self._desk
        self._unlock("before the upgrade")
        before, since_s = desk.status()["MainPID"], time.time()
        desk.install(self._deb)
        self._expect(not desk.is_hinted() and not desk.hints(since_s), "the upgrade locked")
        self._pull("upgrade")
        took_over = wait_for(lambda: desk.status()["MainPID"] not in ("0", before), 20)
        self._expect(bool(took_over), "the new version did not take over")
        self._see(desk.is_covered(), "while the new version took over")
        desk.heard(desk.insert(), "card-inserted")

    def row(self) -> list[str]:
        """Return the row of the table."""
        counts = (self.uncovered, self.ended, self.refused, self.wrong)
        return [
            self._desk.name,
            str(self.pulls),
            str(self.unlocks),
            *(str(len(what)) for what in counts),
            load(),
        ]


def run(desk: Desk, table: Table, deb: Path, cycles: int) -> int:
    """Play the week; returns how much went wrong."""
    week = Week(desk, deb, cycles)
    try:
        week.play()
    finally:
        table.write(week.row())
        print(*week.row(), sep=" | ", flush=True)
    return len(week.uncovered + week.ended + week.refused + week.wrong)
