"""The production authorities of the IGC-Santé, by fingerprint.

Source: certificates of 25 June 2013 as the ANS Cryptolib 5.2 installs them under
/etc/opt/santesocial/CPS/Coffre; their SHA-1 thumbprints equal the table of ANS's functional
specification PSCC_SpecFonct_msi_cryptolib v3.3.4 (25 June 2024). Read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PRODUCTION_ANCHORS: Mapping[str, str] = MappingProxyType(
    {
        "53d30a19570826bde0c0762501f1f1c7a659f976c6c023123df5239df34a4eea": (
            "AC RACINE IGC-SANTE FORT"
        ),
        "5891815e864506c662afb32f8de5b8de38bffa1af721780b69e19a0c050386c3": (
            "AC RACINE IGC-SANTE STANDARD"
        ),
    }
)
"""Roots that a login may end at, by SHA-256 of the DER: of CPS and CPF, of CPE and CPA."""

PRODUCTION_INTERMEDIATES: Mapping[str, str] = MappingProxyType(
    {
        "38284e4f6107456e70c7439c85da7d564d0fe1fe1a968c9eb6d43e1fc0d63c3a": (
            "AC IGC-SANTE FORT PERSONNES"
        ),
        "6c339ebcb3e1b0102b143c9694225c2a4ab2ef6fedf7d364da8db305e7f7d997": (
            "AC IGC-SANTE STANDARD PERSONNES"
        ),
    }
)
"""Authorities that issue the certificates of cards, by SHA-256 of the DER."""

_NOT_FOR_LOGIN: Mapping[str, str] = MappingProxyType(
    {
        "2d9e22ca19f777c6b745257c723ecb8df3c35fa6f1f6ec36b83600c97346967f": (
            "AC RACINE IGC-SANTE ELEMENTAIRE"
        ),
        "23f69674002d1dd4b018baecd908dc92687942bb48e5140ff895e2f56bc49c0d": (
            "AC IGC-SANTE FORT ORGANISATIONS"
        ),
        "c0520a2b14fb68836a807bf86ab2b3e07d1b6061d91bc9c7b86a6f8de4b5638e": (
            "AC IGC-SANTE STANDARD ORGANISATIONS"
        ),
        "19c1eaeab477b6fbc233cda3b53fbdbc3f4e9bf6cf6973e46f7dfaef89c06c6c": (
            "AC IGC-SANTE ELEMENTAIRE PERSONNES"
        ),
        "d834ee5b40686b73573f60547bf6052c6d404d942a5665cdb2c0b9137b5d27b2": (
            "AC IGC-SANTE ELEMENTAIRE ORGANISATIONS"
        ),
    }
)

PRODUCTION_AUTHORITIES: Mapping[str, str] = MappingProxyType(
    {**PRODUCTION_ANCHORS, **PRODUCTION_INTERMEDIATES, **_NOT_FOR_LOGIN}
)
"""All nine, to recognise one; most of them are not trusted for a login."""

PRODUCTION_CRL_URLS = tuple(
    f"http://igc-sante.esante.gouv.fr/CRL/{name}.crl"
    for name in ("ACR-FO", "ACR-ST", "ACI-FO-PP", "ACI-ST-PP")
)
"""Lists of the four. ACR: in the intermediates. ACI-FO-PP: public download scripts; ACI-ST-PP
follows its naming and that of the TEST certificates."""

PRODUCTION_OCSP_URLS = ("http://ocsp.esante.gouv.fr",)
"""In published TEST and production certificates, the same in both."""

PRODUCTION_AUTHORITY_URLS = (
    *(
        f"http://igc-sante.esante.gouv.fr/AC/{name}.cer"
        for name in ("ACR-FO", "ACR-ST", "ACI-FO-PP", "ACI-ST-PP")
    ),
    "http://igc-sante.esante.gouv.fr/AC/Chaine_de_certification-IGC-Sante.p7b",
)
"""Certificates of the four: ACI-FO-PP as in public download scripts, the others by the naming of
their lists; and the whole hierarchy, as reported. What comes is held to the pins."""
