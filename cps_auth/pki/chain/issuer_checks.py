"""What holds one certificate to the one that issued it."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.pki.certificate.parts import extension_of, extensions_of
from cps_auth.pki.certificate.profile import DEFAULT_KEY_RULES, KeyRules


def is_strong_key(certificate: x509.Certificate, rules: KeyRules = DEFAULT_KEY_RULES) -> bool:
    """Return whether the certified key is of a kind and size that the rules accept."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return rules.rsa_min_bits <= key.key_size <= rules.rsa_max_bits
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in rules.curves


def identifies(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether the child's authority key identifier is the issuer's subject key identifier.

    Both have to be there: RFC 5280 sections 4.2.1.1 and 4.2.1.2.
    """
    authority = extension_of(child, x509.AuthorityKeyIdentifier)
    subject = extension_of(issuer, x509.SubjectKeyIdentifier)
    if authority is None or subject is None:
        return False
    return authority.key_identifier == subject.digest


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Return whether it names itself as its issuer (RFC 5280 section 3.2)."""
    return certificate.subject == certificate.issuer


def allows_client_auth(usage: x509.ExtendedKeyUsage | None) -> bool:
    """Return whether an authority with this extended key usage may issue for client logins."""
    allowing = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(oid in usage for oid in allowing)


def policies_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the policies that a certificate asserts, dotted; empty when it asserts none."""
    return extensions_of(certificate).policies
