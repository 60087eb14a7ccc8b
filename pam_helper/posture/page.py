"""One page for the practice's file, in French, to be printed: what this PC could tell, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from html import escape

from cps_auth.wording import translations
from pam_helper.posture.model import Observation, Seen, Verdict
from pam_helper.posture.words import MEASURE_WORDS, VERDICT_WORDS

_STYLE = """
@page { size: A4; margin: 14mm }
body { font: 10.5pt/1.35 "DejaVu Sans", sans-serif; color: #111; max-width: 190mm; margin: 0 auto }
h1 { font-size: 16pt; margin: 0 0 2mm } h2 { font-size: 11pt; margin: 3.5mm 0 1mm }
p, ul { margin: 1mm 0 } ul { padding-left: 5mm } section { break-inside: avoid }
.present::before { content: "\\2713\\00a0" } .absent::before { content: "\\2717\\00a0" }
.cannot-tell::before { content: "?\\00a0" } .verdict { float: right; font-weight: bold }
@media print { body { font-size: 9pt } h2 { margin-top: 2.5mm } }
footer { border-top: 0.3mm solid #111; margin-top: 4mm; padding-top: 2mm }
"""


def seen_text(seen: Seen, language: str) -> str:
    """Return what was seen as a sentence, dates as the language has them."""
    form = "%d/%m/%Y" if language == "fr" else "%Y-%m-%d"
    facts = {
        name: f"{value:{form}}" if isinstance(value, date) else value
        for name, value in seen.facts.items()
    }
    return translations(language).gettext(seen.sentence).format(**facts)


def posture_page(observations: Sequence[Observation], *, at: datetime, who: str, host: str) -> str:
    """Return the page, whole and without anything from elsewhere.

    Args:
        observations: of the six measures.
        at: when it was looked, aware.
        who: who ran it.
        host: this PC's name.
    """
    french = translations("fr").gettext
    when = f"{at.astimezone():%d/%m/%Y à %H:%M}"
    present = sum(one.verdict is Verdict.PRESENT for one in observations)
    return "\n".join(
        (
            '<!doctype html><html lang="fr"><head><meta charset="utf-8">',
            f"<title>Mesures de sécurité du poste {escape(host)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>Mesures de sécurité du poste {escape(host)}</h1>",
            f"<p>Relevé le {escape(when)} par {escape(who)} avec <code>cps-auth posture</code> : "
            f"{present} mesures présentes sur {len(observations)}.</p>",
            *(_section(one, french) for one in observations),
            "<footer><p>Ce relevé dit ce que ce poste sait de lui-même. « Impossible à dire » "
            "demande un contrôle par une personne. Il ne remplace ni le registre des traitements, "
            "ni le contrat d’hébergement de données de santé (art. L. 1111-8 du code de la santé "
            "publique).</p><p>Contrôlé par : ____________________ le ____________ "
            "Signature :</p></footer></body></html>\n",
        )
    )


def _section(one: Observation, french: Callable[[str], str]) -> str:
    words = MEASURE_WORDS[one.measure]
    seen = "".join(f"<li>{escape(seen_text(fact, 'fr'))}</li>" for fact in one.seen)
    mend = (
        "" if one.verdict is Verdict.PRESENT else f"<p>À faire : {escape(french(words.mend))}</p>"
    )
    return (
        f'<section><h2>{escape(french(words.title))} <span class="verdict {one.verdict.value}">'
        f"{escape(french(VERDICT_WORDS[one.verdict]))}</span></h2>"
        f"<p>{escape(french(words.why))}</p><ul>{seen}</ul>{mend}</section>"
    )
