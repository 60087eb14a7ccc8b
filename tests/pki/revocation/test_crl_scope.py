"""Which certificates a list speaks about, and delta lists over the right base."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.model import RevocationEvidence
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.chain.verify import verify_chain
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.policy import GRACE_MAX_HOURS, RevocationPolicy
from hardware_mocks.igc.certificates import SITE
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante

HOUR = timedelta(hours=1)
URL = f"{SITE}/CRL/ACI-FO-PP.crl"
HOLD, REMOVED = x509.ReasonFlags.certificate_hold, x509.ReasonFlags.remove_from_crl


def _point(
    *, url: str | None = URL, relative: str | None = None, reasons: bool = False, **flags: bool
) -> tuple[x509.ExtensionType, bool]:
    every = {
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    rdn = x509.RelativeDistinguishedName(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, relative or "x")]
    )
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)] if url else None,
        relative_name=rdn if relative else None,
        only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}) if reasons else None,
        **(every | flags),
    )
    return point, True


def _evidence(
    igc: FakeIgcSante, *lists: bytes, leaf: bytes | None = None
) -> tuple[RevocationEvidence, ...]:
    der = leaf or igc.credentials("doctor").authentication_certificate_der
    chain = verify_chain(parse_certificate(der), igc.trust_store(), at=igc.made_at)
    return check_revocation(chain, CrlStore([*lists, igc.crls["ACR-FO"]]), at=igc.made_at)


def _why(igc: FakeIgcSante, *lists: bytes, leaf: bytes | None = None) -> str:
    with pytest.raises(RevocationUnknown) as caught:
        _evidence(igc, *lists, leaf=leaf)
    return caught.value.why


@pytest.mark.parametrize(
    "point",
    [
        _point(),
        _point(url=None, only_contains_user_certs=True),
        _point(only_contains_user_certs=True),
    ],
    ids=["whole", "no-name", "users"],
)
def test_list_that_speaks_about_the_card(
    igc: FakeIgcSante, point: tuple[x509.ExtensionType, bool]
) -> None:
    """A list of the card's own distribution point, or of user certificates, is evidence."""
    assert _evidence(igc, igc.crl(extra=[point]))
    line = Revocation(_serial(igc), igc.made_at)
    with pytest.raises(CertificateRevoked):
        _evidence(igc, igc.crl(extra=[point], revoked=[line]))


USERS = _point(url=None, only_contains_user_certs=True)


@pytest.mark.parametrize("other", [_point(), USERS], ids=["point", "users"])
def test_lists_of_two_scopes(igc: FakeIgcSante, other: tuple[x509.ExtensionType, bool]) -> None:
    """Numbers of two scopes cannot be compared: either revokes, the current one is evidence."""
    line = Revocation(_serial(igc), igc.made_at - HOUR)
    stale = {"this_update": igc.made_at - 3 * HOUR, "next_update": igc.made_at - HOUR}
    for whole_number, other_number in ((5, 1000), (1000, 5)):
        whole = {"number": whole_number, "revoked": []}
        scoped = {"number": other_number, "revoked": [], "extra": [other]}
        for lists in (
            (igc.crl(**whole | {"revoked": [line]}), igc.crl(**scoped)),
            (igc.crl(**whole), igc.crl(**scoped | {"revoked": [line]})),
            (igc.crl(**whole), igc.crl(**scoped | stale | {"revoked": [line]})),
        ):
            with pytest.raises(CertificateRevoked):
                _evidence(igc, *lists)
        for lists, number in (
            ((igc.crl(**whole | stale), igc.crl(**scoped)), other_number),
            ((igc.crl(**whole), igc.crl(**scoped | stale)), whole_number),
        ):
            assert _evidence(igc, *lists)[0].crl_number == number


@pytest.mark.parametrize(
    ("point", "why"),
    [
        (_point(only_contains_ca_certs=True), "crl-partial"),
        (_point(only_contains_attribute_certs=True), "crl-partial"),
        (_point(indirect_crl=True), "crl-partial"),
        (_point(reasons=True), "crl-partial"),
        (_point(url=f"{SITE}/CRL/ACI-ST-PP.crl"), "crl-other-distribution-point"),
        (_point(url=None, relative="part 2"), "crl-other-distribution-point"),
    ],
    ids=["cas", "attributes", "indirect", "reasons", "other-url", "relative"],
)
def test_list_that_does_not(
    igc: FakeIgcSante, point: tuple[x509.ExtensionType, bool], why: str
) -> None:
    """A list about something else, or only part of the truth, is no evidence for the card."""
    assert _why(igc, igc.crl(extra=[point])) == why


def test_list_of_authorities_is_for_authorities(igc: FakeIgcSante) -> None:
    """The root's list of CA certificates is evidence for the intermediate, one of users is not."""
    chain = verify_chain(
        parse_certificate(igc.credentials("doctor").authentication_certificate_der),
        igc.trust_store(),
        at=igc.made_at,
    )
    own = f"{SITE}/CRL/ACR-FO.crl"
    for flag, good in (("only_contains_ca_certs", True), ("only_contains_user_certs", False)):
        root_list = igc.crl("fort", extra=[_point(url=own, **{flag: True})])
        crls = CrlStore([igc.crls["ACI-FO-PP"], root_list])
        if good:
            assert check_revocation(chain, crls, at=igc.made_at)
        else:
            with pytest.raises(RevocationUnknown):
                check_revocation(chain, crls, at=igc.made_at)


def test_card_without_distribution_point(igc: FakeIgcSante) -> None:
    """For a card that names no list, one without a point will do, or one of the issuer's name."""
    leaf = igc.issue(igc.request().without(x509.CRLDistributionPoints.oid))
    assert _evidence(igc, igc.crl(), leaf=leaf)
    assert _why(igc, igc.crl(extra=[_point()]), leaf=leaf) == "crl-other-distribution-point"


def _serial(igc: FakeIgcSante) -> int:
    der = igc.credentials("doctor").authentication_certificate_der
    return x509.load_der_x509_certificate(der).serial_number


def _base(igc: FakeIgcSante, *reasons: x509.ReasonFlags, number: int = 10, **more: Any) -> bytes:
    lines = [Revocation(_serial(igc), igc.made_at, reason) for reason in reasons]
    return igc.crl(number=number, revoked=lines, **more)


def _delta(
    igc: FakeIgcSante, *reasons: x509.ReasonFlags, number: int = 11, base: int = 10, **more: Any
) -> bytes:
    lines = [Revocation(_serial(igc), igc.made_at, reason) for reason in reasons]
    extra = [(x509.DeltaCRLIndicator(base), True), *more.pop("extra", [])]
    return igc.crl(number=number, revoked=lines, extra=extra, **more)


def test_delta_revokes(igc: FakeIgcSante) -> None:
    """A certificate on the delta list is revoked; without it on either, the delta is evidence."""
    with pytest.raises(CertificateRevoked):
        _evidence(igc, _base(igc), _delta(igc, HOLD))
    assert _evidence(igc, _base(igc), _delta(igc))[0].crl_number == 11


def test_delta_restores(igc: FakeIgcSante) -> None:
    """removeFromCRL lifts a hold, in a current delta list only."""
    assert _evidence(igc, _base(igc, HOLD), _delta(igc, REMOVED))
    past = {"this_update": igc.made_at - 2 * HOUR, "next_update": igc.made_at - HOUR}
    with pytest.raises(CertificateRevoked):
        _evidence(igc, _base(igc, HOLD), _delta(igc, REMOVED, **past))


def test_entry_for_both_revokes(igc: FakeIgcSante) -> None:
    """Of two entries for one certificate in a delta list, the one that revokes counts."""
    for order in ((HOLD, REMOVED), (REMOVED, HOLD)):
        with pytest.raises(CertificateRevoked):
            _evidence(igc, _base(igc), _delta(igc, *order))


def test_delta_over_the_wrong_base(igc: FakeIgcSante) -> None:
    """A delta list of a later base, of no base, or of another scope is not applied."""
    assert _why(igc, _delta(igc)) == "crl-delta"
    for delta in (
        _delta(igc, REMOVED, base=12, number=13),
        _delta(igc, REMOVED, number=10, base=9),
        _delta(igc, REMOVED, extra=[_point()]),
    ):
        with pytest.raises(CertificateRevoked):
            _evidence(igc, _base(igc, HOLD), delta)
        assert _evidence(igc, _base(igc), delta)[0].crl_number == 10


def test_stale_delta_with_a_current_base(igc: FakeIgcSante) -> None:
    """It still says who was revoked, and no longer who is not; the base is the evidence."""
    dates = {"this_update": igc.made_at - 3 * HOUR, "next_update": igc.made_at - HOUR}
    stale = {**dates, "number": 6, "extra": [(x509.DeltaCRLIndicator(5), True)]}
    listed = Revocation(_serial(igc), igc.made_at - HOUR)
    held = Revocation(_serial(igc), igc.made_at - HOUR, HOLD)
    restored = Revocation(_serial(igc), igc.made_at - HOUR, REMOVED)
    base = igc.crl(number=5, revoked=[])
    assert _evidence(igc, base, igc.crl(**stale, revoked=[]))[0].crl_number == 5
    for lists in (
        (base, igc.crl(**stale, revoked=[listed])),
        (igc.crl(number=5, revoked=[held]), igc.crl(**stale, revoked=[restored])),
    ):
        with pytest.raises(CertificateRevoked):
            _evidence(igc, *lists)


def test_forged_delta(igc: FakeIgcSante) -> None:
    """A delta list that somebody else signed restores nobody."""
    forger = igc.authorities["rogue-fort-personnes"].key
    with pytest.raises(CertificateRevoked):
        _evidence(igc, _base(igc, HOLD), _delta(igc, REMOVED, signing_key=forger))


def test_stale_base_with_a_current_delta(igc: FakeIgcSante) -> None:
    """Together they are the complete list of the delta's date; a stale delta doesn't help."""
    past = {"this_update": igc.made_at - 9 * HOUR, "next_update": igc.made_at - 2 * HOUR}
    assert _evidence(igc, _base(igc, **past), _delta(igc))[0].crl_number == 11
    assert _why(igc, _base(igc, **past), _delta(igc, **past)) == "crl-stale"
    with pytest.raises(CertificateRevoked):
        _evidence(igc, _base(igc), _delta(igc, HOLD, **past))


# --- How old evidence may be -----------------------------------------------------


def _judge(igc: FakeIgcSante, policy: RevocationPolicy, *lists: bytes) -> Judge:
    return Judge(igc.trust_store(), CrlStore([*lists, igc.crls["ACR-FO"]]), policy=policy)


def test_one_card_after_another(igc: FakeIgcSante) -> None:
    """What is evidence for one card is none for the next that is asked of the same judge."""
    first = igc.credentials("doctor").authentication_certificate_der
    request = igc.request("doctor")
    second = igc.issue(request)
    line = Revocation(request.serial, igc.made_at - HOUR)
    delta = igc.crl(number=11, revoked=[line], extra=[(x509.DeltaCRLIndicator(10), True)])
    judge = _judge(igc, RevocationPolicy(), igc.crl(number=10), delta)
    assert [judge.judge(first, at=igc.made_at) for _ in range(3)]
    with pytest.raises(CertificateRevoked):
        judge.judge(second, at=igc.made_at)

    elsewhere = x509.UniformResourceIdentifier(f"{SITE}/CRL/elsewhere.crl")
    points = x509.CRLDistributionPoints([x509.DistributionPoint([elsewhere], None, None, None)])
    judge = _judge(igc, RevocationPolicy(), igc.crl(extra=[_point()]))
    assert [judge.judge(first, at=igc.made_at) for _ in range(3)]
    with pytest.raises(RevocationUnknown) as caught:
        judge.judge(igc.issue(request.having(points, critical=False)), at=igc.made_at)
    assert caught.value.why == "crl-other-distribution-point"


def _stale(igc: FakeIgcSante, end: datetime, **more: Any) -> bytes:
    return igc.crl(this_update=end - HOUR, next_update=end, **more)


def test_grace(igc: FakeIgcSante) -> None:
    """Within the grace a stale list still counts, and the verdict says that it was past due."""
    der = igc.credentials("doctor").authentication_certificate_der
    stale = _stale(igc, igc.made_at - 24 * HOUR)
    judged = _judge(igc, RevocationPolicy.grace(24), stale).judge(der, at=igc.made_at)
    assert [piece.past_due for piece in judged.revocation] == [True, False]
    assert [piece.age_s for piece in judged.revocation] == [25 * 3600, 3600]
    for policy in (RevocationPolicy.grace(23.9), RevocationPolicy()):
        with pytest.raises(RevocationUnknown) as caught:
            _judge(igc, policy, stale).judge(der, at=igc.made_at)
        assert caught.value.valid_until == igc.made_at - 24 * HOUR
        assert caught.value.issuer == "FICTIVE AC IGC-SANTE FORT PERSONNES"


def test_grace_is_not_for_everything(igc: FakeIgcSante) -> None:
    """No grace makes a revoked card, a missing list or a forged one pass."""
    der = igc.credentials("doctor").authentication_certificate_der
    policy = RevocationPolicy.grace(GRACE_MAX_HOURS)
    line = Revocation(_serial(igc), igc.made_at - 99 * HOUR)
    forger = igc.authorities["rogue-fort-personnes"].key
    with pytest.raises(CertificateRevoked):
        _judge(igc, policy, _stale(igc, igc.made_at - HOUR, revoked=[line])).judge(
            der, at=igc.made_at
        )
    for lists in ((), (b"rubbish",), (igc.crl(signing_key=forger, revoked=[]),)):
        with pytest.raises(RevocationUnknown):
            _judge(igc, policy, *lists).judge(der, at=igc.made_at)


@pytest.mark.parametrize("hours", [0, -1, float("inf"), float("nan"), GRACE_MAX_HOURS + 1])
def test_grace_has_bounds(hours: float) -> None:
    """There is no endless grace, which would be revocation switched off."""
    with pytest.raises(ValueError, match="grace"):
        RevocationPolicy.grace(hours)


ODD = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": [_point(reasons=True)], "number": 9},
        {"extra": [_point(url="http://elsewhere.invalid/x")], "number": 9},
        {"extra": [_point(only_contains_ca_certs=True)], "number": 9},
        {"extra": [ODD], "number": 9},
        {"extra": [(x509.DeltaCRLIndicator(7), True)], "number": 9},
        {"number": None},
        {"number": 0},
        {"number": 0, "days": -3},
        {"number": 9, "days": 1},
    ],
    ids=lambda changes: "-".join(changes) + str(changes.get("number")),
)
def test_a_list_that_names_a_card_is_never_passed_over(
    igc: FakeIgcSante, changes: dict[str, Any]
) -> None:
    """No evidence that a card is good is still evidence that it is revoked, once it is signed."""
    changes = dict(changes)
    days = timedelta(days=changes.pop("days", 0))
    changes = {"this_update": igc.made_at - timedelta(hours=2) + days} | changes
    changes = {"next_update": igc.made_at + timedelta(days=9)} | changes
    der = igc.credentials("doctor").authentication_certificate_der
    serial = x509.load_der_x509_certificate(der).serial_number
    clean = igc.crl(number=5)
    naming = igc.crl(revoked=[Revocation(serial, igc.made_at - timedelta(days=5))], **changes)
    for lists in ((clean, naming), (naming, clean)):
        with pytest.raises(CertificateRevoked):
            _evidence(igc, *lists)
    forger = igc.authorities["rogue-fort-personnes"].key
    forged = igc.crl(revoked=[Revocation(serial, igc.made_at)], **changes, signing_key=forger)
    assert _evidence(igc, clean, forged)[0].crl_number == 5


def test_certificate_without_a_point_beside_a_list_with_one(igc: FakeIgcSante) -> None:
    """Such a list is about those of its point (RFC 5280, 6.3.3): no evidence that one is good."""
    leaf = igc.issue(igc.request().without(x509.CRLDistributionPoints.oid))
    assert _why(igc, igc.crl(extra=[_point()]), leaf=leaf) == "crl-other-distribution-point"
    assert _evidence(igc, igc.crl(), leaf=leaf)
    serial = x509.load_der_x509_certificate(leaf).serial_number
    naming = igc.crl(extra=[_point()], revoked=[Revocation(serial, igc.made_at)], number=2)
    with pytest.raises(CertificateRevoked):
        _evidence(igc, igc.crl(), naming, leaf=leaf)


@pytest.mark.parametrize(
    ("held", "later", "lifted"),
    [
        ({"number": 8}, {"number": 9}, True),
        ({"number": 8, "hours": 1}, {"number": 9}, True),
        ({"number": 9}, {"number": 9}, False),
        ({"number": None}, {"number": 9, "hours": 1}, True),
        ({"number": None, "hours": 1}, {"number": 9}, False),
        ({"number": None}, {"number": 9}, False),
    ],
)
def test_what_ends_a_hold(
    igc: FakeIgcSante, held: dict[str, Any], later: dict[str, Any], lifted: bool
) -> None:
    """A list of a higher number, or of a later date where one has no number."""
    der = igc.credentials("doctor").authentication_certificate_der
    serial = x509.load_der_x509_certificate(der).serial_number
    line = Revocation(serial, igc.made_at - timedelta(days=1), HOLD)
    lists = []
    for changes, revoked in ((held, [line]), (later, [])):
        made = igc.made_at - timedelta(hours=5 - changes.get("hours", 0))
        lists.append(igc.crl(number=changes["number"], this_update=made, revoked=revoked))
    if lifted:
        assert _evidence(igc, *lists)[0].crl_number == 9
    else:
        with pytest.raises(CertificateRevoked):
            _evidence(igc, *lists)


def test_delta_over_a_list_without_a_number(igc: FakeIgcSante) -> None:
    """Nobody knows whether it fits: the complete list is evidence, and a card on either revoked."""
    der = igc.credentials("doctor").authentication_certificate_der
    line = Revocation(x509.load_der_x509_certificate(der).serial_number, igc.made_at)
    delta = (x509.DeltaCRLIndicator(1), True)
    complete = igc.crl(number=None, revoked=[])
    for numbers in (2, None):
        other = igc.crl(number=numbers, revoked=[], extra=[delta])
        assert _evidence(igc, complete, other)[0].crl_number is None
        naming = igc.crl(number=numbers, revoked=[line], extra=[delta])
        with pytest.raises(CertificateRevoked):
            _evidence(igc, complete, naming)
    assert _evidence(igc, igc.crl(), igc.crl(number=None, extra=[delta], revoked=[]))
