"""An issuer: a CA certificate read once, and what RFC 5280 asks of it and of what it issued."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy

from cps_auth.der import GENERALIZED_TIME, SEQUENCE, element_at, inside
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.names import NAME_MAX_BYTES, name_key, shown_name
from cps_auth.pki.certificate.parse import read_fields
from cps_auth.pki.certificate.profiles import DEFAULT_KEY_RULES, KeyRules
from cps_auth.pki.certificate.signature import SignedParts, is_signed_with

_Extension = TypeVar("_Extension", bound=x509.ExtensionType | None)
_Check = Callable[[x509.Certificate, _Extension], bool]


class ChainFault(enum.StrEnum):
    """The reasons of UntrustedIssuer."""

    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"
    KEY_IDENTIFIER_MISMATCH = "key-identifier-mismatch"
    CA_EXPIRED = "ca-expired"
    CA_NOT_YET_VALID = "ca-not-yet-valid"
    WEAK_KEY = "weak-key"
    WEAK_HASH = "weak-hash"
    LEAF_IS_CA = "leaf-is-ca"
    LEAF_EXTENSIONS = "leaf-extensions"
    CA_EXTENSIONS = "ca-extensions"
    PATH_TOO_LONG = "path-too-long"
    INVALID_CHAIN = "invalid-chain"


@dataclass(frozen=True, eq=False)
class Issuer(ParsedCertificate):
    """A CA certificate, with what is asked of it again and again.

    Attributes:
        key: that it certifies.
        key_sha256_hex: of the SubjectPublicKeyInfo.
        name_key: see `cps_auth.pki.certificate.names.name_key`.
        name_der: its subject.
        shown_name: common name, or all of the name.
        key_identifier: its SubjectKeyIdentifier, None when absent.
        may_sign_crls: whether its key usage says so.
    """

    key: CertificatePublicKeyTypes = field(repr=False)
    key_sha256_hex: str
    name_key: str = field(repr=False)
    name_der: bytes = field(repr=False)
    shown_name: str
    key_identifier: bytes | None
    may_sign_crls: bool

    @classmethod
    def of(cls, authority: x509.Certificate) -> Issuer:
        """Read a CA certificate that `load_x509` accepted."""
        fields = read_fields(authority)
        key = authority.public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject = fields.extensions.known.get(x509.SubjectKeyIdentifier)
        usage = fields.extensions.known.get(x509.KeyUsage)
        return cls(
            **vars(fields),
            key=key,
            key_sha256_hex=hashlib.sha256(spki).hexdigest(),
            name_key=name_key(authority.subject),
            name_der=authority.subject.public_bytes(),
            shown_name=shown_name(authority.subject),
            key_identifier=None if subject is None else subject.digest,
            may_sign_crls=usage is not None and usage.crl_sign,
        )


def issuer_key(child: x509.Certificate, parts: SignedParts | None) -> str | None:
    """Return the `name_key` of a certificate's issuer, None when it cannot be read."""
    if parts is None or len(parts.issuer_der) > NAME_MAX_BYTES:
        return None
    try:
        return name_key(child.issuer)
    except Exception:  # the library reads it now, and documents no closed list
        return None


def is_issued_by(child: x509.Certificate, parts: SignedParts | None, issuer: Issuer) -> bool:
    """Return whether a certificate names this issuer and is signed with its key.

    Args:
        child: what was parsed.
        parts: of the bytes that it was parsed from.
        issuer: a CA.

    Source: RFC 5280 section 6.1.3 (a) (1) and (4).
    """
    if parts is None:
        return False
    is_named = parts.issuer_der == issuer.name_der or issuer_key(child, parts) == issuer.name_key
    return is_named and is_signed_with(child, parts, issuer.key)


def has_generalized_dates(der: bytes) -> bool:
    """Return whether a certificate that was parsed writes a date of its own as GeneralizedTime."""
    signed = next(inside(der, element_at(der, 0, len(der))))
    # signature, issuer, validity: RFC 5280 section 4.1
    validity = [part for part in inside(der, signed) if part.tag == SEQUENCE][2]
    return any(date.tag == GENERALIZED_TIME for date in inside(der, validity))


def identifies(child: ParsedCertificate, issuer: Issuer) -> bool:
    """Return whether the child's authority key identifier is the issuer's subject key identifier.

    Both have to be there: RFC 5280 sections 4.2.1.1 and 4.2.1.2.
    """
    authority = child.extensions.known.get(x509.AuthorityKeyIdentifier)
    if authority is None or issuer.key_identifier is None:
        return False
    return authority.key_identifier == issuer.key_identifier


def is_strong_key(certificate: x509.Certificate, rules: KeyRules = DEFAULT_KEY_RULES) -> bool:
    """Return whether the certified key is of a kind and size that the rules accept."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return rules.rsa_min_bits <= key.key_size <= rules.rsa_max_bits
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in rules.curves


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Return whether it names itself as its issuer. RFC 5280 section 3.2."""
    return certificate.subject == certificate.issuer


def allows_client_auth(usage: x509.ExtendedKeyUsage | None) -> bool:
    """Return whether an authority with this extended key usage may issue for client logins."""
    allowing = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(oid in usage for oid in allowing)


_KNOWN_CRITICAL = frozenset(
    {
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
        x509.SubjectAlternativeName,
        x509.CertificatePolicies,
    }
)


def has_unknown_critical(certificate: ParsedCertificate) -> bool:
    """Return whether something is critical that is not processed here. RFC 5280 section 4.2."""
    return not certificate.extensions.critical <= _KNOWN_CRITICAL


def has_room(path: tuple[Issuer, ...]) -> bool:
    """Return whether no authority of a path forbids the authorities that are below it.

    Source: RFC 5280 section 4.2.1.9; self-issued ones don't count.
    """
    below = 0
    for authority in path:
        basic = authority.extensions.known.get(x509.BasicConstraints)
        longest = None if basic is None else basic.path_length
        if longest is not None and below > longest:
            return False
        below += 0 if is_self_issued(authority.x509) else 1
    return True


def is_sound_authority(authority: Issuer, keys: KeyRules, *, at: datetime) -> bool:
    """Return whether a certificate is that of a CA which may issue certificates for logins.

    For anchors, which nobody signed but themselves; the library's verifier is given the same
    rules. RFC 5280 sections 6.1.3 (a) (2) and 6.1.4 (k), (n), (o).
    """
    basic = authority.extensions.known.get(x509.BasicConstraints)
    usage = authority.extensions.known.get(x509.KeyUsage)
    return (
        authority.not_before <= at <= authority.not_after
        and basic is not None
        and basic.ca
        and usage is not None
        and usage.key_cert_sign
        and is_strong_key(authority.x509, keys)
        and allows_client_auth(authority.extensions.known.get(x509.ExtendedKeyUsage))
        and authority.extensions.known.get(x509.NameConstraints) is None
        and not has_unknown_critical(authority)
    )


def leaf_fault(leaf: ParsedCertificate, keys: KeyRules) -> ChainFault | None:
    """Return what makes a certificate nobody's card, whoever issued it; None if nothing does.

    Source: RFC 5280 sections 4.2, 4.2.1.3 and 4.2.1.9.
    """
    basic = leaf.extensions.known.get(x509.BasicConstraints)
    if basic is not None and basic.ca:
        return ChainFault.LEAF_IS_CA
    if not is_strong_key(leaf.x509, keys):
        return ChainFault.WEAK_KEY
    usage = leaf.extensions.known.get(x509.KeyUsage)
    if usage is None or usage.key_cert_sign or usage.crl_sign or has_unknown_critical(leaf):
        return ChainFault.LEAF_EXTENSIONS
    return None


def authority_policy(keys: KeyRules) -> ExtensionPolicy:
    """Return what the verifier asks of an authority: the rules of `is_sound_authority`."""
    return (
        ExtensionPolicy.permit_all()
        .require_present(
            x509.BasicConstraints,
            Criticality.AGNOSTIC,
            _refusing(lambda ca, basic: basic.ca and is_strong_key(ca, keys)),
        )
        .require_present(
            x509.KeyUsage,
            Criticality.AGNOSTIC,
            _refusing(lambda _ca, usage: usage.key_cert_sign),
        )
        .may_be_present(
            x509.ExtendedKeyUsage,
            Criticality.AGNOSTIC,
            _refusing(lambda _ca, usage: allows_client_auth(usage)),
        )
        # The verifier ignores those on directory names unless they are critical.
        .require_not_present(x509.NameConstraints)
    )


def crl_signer_policy() -> ExtensionPolicy:
    """Return what the verifier asks of a certificate that signs CRLs only."""
    return ExtensionPolicy.permit_all().require_present(
        x509.KeyUsage, Criticality.AGNOSTIC, _refusing(lambda _ca, usage: usage.crl_sign)
    )


def leaf_policy() -> ExtensionPolicy:
    """Return what the verifier asks of a holder's certificate: the rules of `leaf_fault`."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(
            x509.BasicConstraints,
            Criticality.AGNOSTIC,
            _refusing(lambda _leaf, basic: basic is None or not basic.ca),
        )
        .require_present(
            x509.KeyUsage,
            Criticality.AGNOSTIC,
            _refusing(lambda _leaf, usage: not usage.key_cert_sign and not usage.crl_sign),
        )
    )


def _refusing(
    check: _Check[_Extension],
) -> Callable[[verification.Policy, x509.Certificate, _Extension], None]:
    def refuse(
        _policy: verification.Policy, certificate: x509.Certificate, extension: _Extension
    ) -> None:
        if not check(certificate, extension):
            raise ValueError

    return refuse
