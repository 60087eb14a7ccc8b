"""T41, the header: six spellings of one certificate, and everything that is none."""

from __future__ import annotations

import base64
import textwrap
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.errors import RequestMalformed
from cps_auth.flask.methods.mtls.client_certificate import MAX_CHARACTERS, parse_client_certificate
from cps_auth.flask.methods.mtls.proxy_presets import PRESETS, read_forwarded_certificate
from hardware_mocks.igc.fake_igc import FakeIgcSante

DER = bytes.fromhex("308201f4") + bytes(range(250)) * 2
"""One SEQUENCE of 500 bytes; the reader does not look inside."""

B64 = base64.b64encode(DER).decode()
PEM = "\n".join(
    ("-----BEGIN CERTIFICATE-----", *textwrap.wrap(B64, 64), "-----END CERTIFICATE-----", "")
)
SPELLINGS = {
    "nginx": quote(PEM, safe="-_.~"),
    "nginx, plus and slash left alone": quote(PEM, safe="-_.~+/="),
    "apache": PEM.replace("\n", " "),
    "apache, without the last space": PEM.replace("\n", " ").strip(),
    "pem with line ends": PEM,
    "nginx $ssl_client_cert, tabs": PEM.replace("\n", "\n\t"),
    "haproxy, caddy, traefik": B64,
    "traefik 2.8": quote(B64, safe=""),
    "rfc 9440": f":{B64}:",
}


def _der(content: bytes) -> str:
    return base64.b64encode(content).decode()


ANOTHER = PEM.replace("\n", " ")
WRONG = {
    "nothing": ("", "no-certificate"),
    "what Apache writes for nothing": ("(null)", "no-certificate"),
    "what Caddy writes for nothing": (
        "{http.request.tls.client.certificate_der_base64}",
        "no-certificate",
    ),
    "another placeholder": ("{http.request.uri}", "certificate-not-readable"),
    "too long": ("A" * (MAX_CHARACTERS + 1), "certificate-too-long"),
    "the header twice": (f"{B64},{B64}", "several-certificates"),
    "the header twice, with a space": (f"{B64}, {B64}", "several-certificates"),
    "an empty one first": (f",{B64}", "several-certificates"),
    "a trailing comma": (f"{B64},", "several-certificates"),
    "Client-Cert as a list": (f":{B64}:, :{B64}:", "several-certificates"),
    "two in one PEM": (ANOTHER + ANOTHER, "several-certificates"),
    "two in one PEM, encoded": (quote(PEM + PEM, safe=""), "several-certificates"),
    "only the bare word null": ("null", "certificate-not-readable"),
    "spaces": ("   ", "certificate-not-readable"),
    "text before the PEM": ("subject=x " + ANOTHER, "certificate-not-readable"),
    "text after the PEM": (ANOTHER + "x", "certificate-not-readable"),
    "a PEM without an end": (ANOTHER[:-10], "certificate-not-readable"),
    "a PEM without a beginning": (ANOTHER[5:], "certificate-not-readable"),
    "only the lines around": (
        "-----BEGIN CERTIFICATE-----  -----END CERTIFICATE-----",
        "certificate-not-readable",
    ),
    "one line for both": ("-----BEGIN CERTIFICATE-----", "certificate-not-readable"),
    "another kind of PEM": (
        ANOTHER.replace("CERTIFICATE", "PUBLIC KEY"),
        "certificate-not-readable",
    ),
    "encoded twice": (quote(quote(PEM)), "certificate-not-readable"),
    "a broken escape": (quote(PEM, safe="") + "%2", "certificate-not-readable"),
    "an escape and a space": (quote(PEM, safe="") + " ", "certificate-not-readable"),
    "an escaped comma": (quote(f"{B64},{B64}", safe=""), "certificate-not-readable"),
    "an escaped null": (quote(B64 + "\x00"), "certificate-not-readable"),
    "an escaped byte above ASCII": (quote(B64, safe="") + "%FF", "certificate-not-readable"),
    "the URL alphabet": (
        base64.urlsafe_b64encode(DER).decode(),
        "certificate-not-readable",
    ),
    "no padding": (_der(DER + b"").rstrip("=") + "A=", "certificate-not-readable"),
    "stray bits at the end": (_der(b"\x30\x02\x05\x00")[:-3] + "B==", "certificate-not-readable"),
    "a space inside": (B64[:40] + " " + B64[40:], "certificate-not-readable"),
    "one colon": (":" + B64, "certificate-not-readable"),
    "colons around nothing": ("::", "certificate-not-readable"),
    "a lone colon": (":", "certificate-not-readable"),
    "parameters": (f":{B64}:;a=1", "certificate-not-readable"),
    "a structured string": (f'"{B64}"', "certificate-not-readable"),
    "Envoy's header": (f"Hash=00;Cert={quote(PEM, safe='')}", "certificate-not-readable"),
    "one byte more": (_der(DER + b"\x00"), "certificate-not-readable"),
    "two in one DER": (_der(DER + DER), "certificate-not-readable"),
    "one byte less": (_der(DER[:-1]), "certificate-not-readable"),
    "an empty structured field": (": :", "certificate-not-readable"),
    "not a SEQUENCE": (_der(b"\x31" + DER[1:]), "certificate-not-readable"),
    "indefinite length": (_der(b"\x30\x80" + DER[4:] + b"\0\0"), "certificate-not-readable"),
    "a long length": (_der(b"\x30\x83\x00" + DER[2:]), "certificate-not-readable"),
    "a length of 4 GB": (_der(b"\x30\x84\xff\xff\xff\xff"), "certificate-not-readable"),
    "a length of a length": (_der(b"\x30\xff"), "certificate-not-readable"),
    "half a header": (_der(b"\x30"), "certificate-not-readable"),
    "a letter outside ASCII": ("é" + B64, "certificate-not-readable"),
    "a lone surrogate": ("\udc80" + B64, "certificate-not-readable"),
}


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
def test_t41_every_proxys_spelling_gives_the_same_bytes(spelling: str) -> None:
    """One function reads what nginx, Apache, HAProxy, Caddy, Traefik and RFC 9440 write."""
    assert parse_client_certificate(SPELLINGS[spelling]) == DER


@pytest.mark.parametrize("what", sorted(WRONG))
def test_t41_anything_but_one_certificate_is_refused(what: str) -> None:
    """None, two, a list, trailing bytes or another spelling: refused, and the log knows why."""
    value, reason = WRONG[what]
    with pytest.raises(RequestMalformed) as refusal:
        parse_client_certificate(value)
    assert refusal.value.reason == reason


@given(st.text(alphabet=st.sampled_from(list("-BEGINCRTFAD :%+/=,\n()2f\x00é")), max_size=200))
def test_t41_rubbish_is_refused_by_our_own_error(rubbish: str) -> None:
    """Whatever comes in, bytes of one SEQUENCE or RequestMalformed come out."""
    try:
        der = parse_client_certificate(rubbish)
    except RequestMalformed:
        return
    assert der[0] == 0x30


@given(st.data())
def test_t41_a_spoiled_header_never_gives_other_bytes(data: st.DataObject) -> None:
    """With one character replaced there is no certificate, or one of the same length."""
    value = SPELLINGS[data.draw(st.sampled_from(sorted(SPELLINGS)))]
    index = data.draw(st.integers(0, len(value) - 1))
    spoiled = value[:index] + data.draw(st.characters(max_codepoint=255)) + value[index + 1 :]
    try:
        der = parse_client_certificate(spoiled)
    except RequestMalformed:
        return
    assert len(der) == len(DER)


def test_a_real_certificate_survives(igc: FakeIgcSante) -> None:
    """The certificate of a persona comes out as it went in."""
    der = igc.credentials("doctor").authentication_certificate_der
    assert parse_client_certificate(f":{_der(der)}:") == der


def _environ(name: str, certificate: str | None, verdict: str | None) -> dict[str, str]:
    preset = PRESETS[name]
    named = {preset.certificate_header: certificate, preset.verdict_header or "X-None": verdict}
    return {
        "HTTP_" + header.upper().replace("-", "_"): value
        for header, value in named.items()
        if value is not None
    }


WITH_VERDICT = sorted(name for name, preset in PRESETS.items() if preset.verdict_header)
BAD_VERDICTS = [
    None,
    "",
    "NONE",
    "GENEROUS",
    "success",
    "SUCCESS,SUCCESS",
    "SUCCESS, SUCCESS",
    "FAILED:self-signed certificate",
    "FAILED:SUCCESS",
    "18",
    "00",
    "0,0",
    "-0",
]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_reads_its_own_header(name: str) -> None:
    """Certificate and verdict are found where that proxy puts them."""
    environ = _environ(name, B64, PRESETS[name].verified)
    assert read_forwarded_certificate(environ, PRESETS[name]) == DER


@pytest.mark.parametrize("verdict", BAD_VERDICTS)
@pytest.mark.parametrize("name", WITH_VERDICT)
def test_t41_a_certificate_without_the_proxys_yes_is_refused(name: str, verdict: str) -> None:
    """A verdict that is absent, no, of another proxy or there twice is no yes."""
    with pytest.raises(RequestMalformed) as refusal:
        read_forwarded_certificate(_environ(name, B64, verdict), PRESETS[name])
    assert refusal.value.reason == "proxy-did-not-verify"


@pytest.mark.parametrize("certificate", [None, "", "(null)"])
@pytest.mark.parametrize("name", WITH_VERDICT)
def test_t41_a_yes_without_a_certificate_is_refused(name: str, certificate: str) -> None:
    """The verdict alone names nobody."""
    environ = _environ(name, certificate, PRESETS[name].verified)
    with pytest.raises(RequestMalformed) as refusal:
        read_forwarded_certificate(environ, PRESETS[name])
    assert refusal.value.reason == "no-certificate"
