"""Errors about which certificate of a card is meant; part of the tree of `cps_auth.errors`."""

from __future__ import annotations

from cps_auth.errors.root import CardUnavailable


class NoAuthenticationCertificate(CardUnavailable):
    """None of the card's certificates is made for authentication."""

    code = "no-authentication-certificate"


class SeveralCertificates(CardUnavailable):
    """The card has more than one authentication certificate that is valid now."""

    code = "several-certificates"
