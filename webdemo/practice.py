"""The invented practice: patients, their records, the appointments of the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta


@dataclass(frozen=True, slots=True)
class Treatment:
    """One line of a prescription."""

    drug: str
    dose: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One consultation, some days ago."""

    days_ago: int
    title: str
    note: str

    def on(self, today: date) -> date:
        """Return its date."""
        return today - timedelta(days=self.days_ago)


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient's record."""

    number: int
    given_name: str
    surname: str
    born: date
    town: str
    phone: str
    is_woman: bool
    allergies: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    visits: tuple[Visit, ...] = ()
    systolic: tuple[int, ...] = ()  # mmHg, oldest first

    @property
    def name(self) -> str:
        """Return the name as it is spoken."""
        return f"{self.given_name} {self.surname}"

    @property
    def initials(self) -> str:
        """Return two letters."""
        return self.given_name[0] + self.surname[0]

    def age(self, today: date) -> int:
        """Return the age in years."""
        had_birthday = (today.month, today.day) >= (self.born.month, self.born.day)
        return today.year - self.born.year - (not had_birthday)

    def systolic_points(self, width: int = 220, height: int = 56) -> str:
        """Return the curve of the pressures as points of an SVG polyline."""
        low, high = min(self.systolic) - 4, max(self.systolic) + 4
        step = width / (len(self.systolic) - 1)
        return " ".join(
            f"{i * step:.0f},{height - (value - low) * height / (high - low):.0f}"
            for i, value in enumerate(self.systolic)
        )


@dataclass(frozen=True, slots=True)
class Appointment:
    """One entry of the day's list."""

    at: time
    patient: Patient
    reason: str
    state: str  # seen, waiting, coming
    minutes: int = 20


_PATIENTS = (
    Patient(
        2041,
        "Odette",
        "Marivaux",
        date(1948, 3, 14),
        "Saint-Aubin",
        "01 99 00 12 41",
        is_woman=True,
        allergies=("Pénicilline",),
        conditions=("Hypertension artérielle", "Arthrose du genou droit"),
        treatments=(
            Treatment("Amlodipine 5 mg", "1 le matin", "Tension"),
            Treatment("Paracétamol 1 g", "si besoin, 3 par jour au plus", "Douleur"),
        ),
        visits=(
            Visit(
                34,
                "Contrôle de la tension",
                "136/82 au repos. Bien tolérée, pas d’œdème. Poursuite.",
            ),
            Visit(
                97,
                "Gonalgie",
                "Douleur mécanique, pas d’épanchement. Kinésithérapie, dix séances.",
            ),
            Visit(212, "Vaccination", "Rappel dTP, bras gauche. Bien supporté."),
        ),
        systolic=(158, 152, 149, 144, 141, 138, 136),
    ),
    Patient(
        2057,
        "Karim",
        "Bensaïd",
        date(1979, 11, 2),
        "Les Tilleuls",
        "01 99 00 45 07",
        is_woman=False,
        conditions=("Diabète de type 2",),
        treatments=(
            Treatment("Metformine 850 mg", "1 matin et soir, au repas", "Glycémie"),
            Treatment("Atorvastatine 20 mg", "1 le soir", "Cholestérol"),
        ),
        visits=(
            Visit(21, "Suivi du diabète", "HbA1c 6,8 %. Pieds sans lésion. Fond d’œil à prévoir."),
            Visit(118, "Suivi du diabète", "HbA1c 7,4 %. Marche trois fois par semaine."),
        ),
        systolic=(134, 131, 135, 130, 128, 127),
    ),
    Patient(
        2063,
        "Jeanne",
        "Delorme",
        date(2021, 6, 9),
        "Saint-Aubin",
        "01 99 00 33 18",
        is_woman=True,
        conditions=("Eczéma atopique",),
        treatments=(Treatment("Émollient", "matin et soir", "Peau"),),
        visits=(
            Visit(9, "Fièvre", "38,4 °C, rhinopharyngite. Surveillance, revoir à 48 h."),
            Visit(160, "Examen de suivi", "Croissance régulière, vue et audition normales."),
        ),
    ),
    Patient(
        2070,
        "Paul",
        "Guérin",
        date(1962, 1, 27),
        "Montreuil-le-Vieux",
        "01 99 00 70 70",
        is_woman=False,
        allergies=("Latex",),
        conditions=("Fibrillation auriculaire",),
        treatments=(
            Treatment("Apixaban 5 mg", "1 matin et soir", "Anticoagulant"),
            Treatment("Bisoprolol 2,5 mg", "1 le matin", "Rythme"),
        ),
        visits=(
            Visit(14, "Résultats", "Créatinine stable à 88 µmol/l. Même dose."),
            Visit(76, "Palpitations", "ECG : fibrillation, 92/min. Avis cardiologique demandé."),
        ),
        systolic=(142, 139, 145, 137, 133, 131, 132, 129),
    ),
    Patient(
        2082,
        "Inès",
        "Caron",
        date(1994, 8, 19),
        "Les Tilleuls",
        "01 99 00 28 94",
        is_woman=True,
        visits=(Visit(45, "Certificat", "Examen normal. Pas de contre-indication à la course."),),
        systolic=(112, 115, 114),
    ),
    Patient(
        2088,
        "Lucien",
        "Thévenot",
        date(1937, 12, 5),
        "Saint-Aubin",
        "01 99 00 19 37",
        is_woman=False,
        allergies=("Aspirine",),
        conditions=("Insuffisance cardiaque", "Surdité appareillée"),
        treatments=(
            Treatment("Furosémide 40 mg", "1 le matin", "Rétention d’eau"),
            Treatment("Ramipril 5 mg", "1 le soir", "Cœur"),
        ),
        visits=(Visit(6, "Visite à domicile", "Poids 71,2 kg, chevilles fines. Poursuite."),),
        systolic=(128, 124, 126, 121, 119, 122),
    ),
)

PATIENTS: Mapping[int, Patient] = {patient.number: patient for patient in _PATIENTS}


def appointments() -> tuple[Appointment, ...]:
    """Return the day's list, in the order of the hours."""
    odette, karim, jeanne, paul, ines, lucien = _PATIENTS
    return (
        Appointment(time(8, 40), odette, "Contrôle de la tension", "seen"),
        Appointment(time(9, 0), karim, "Résultats de la prise de sang", "seen"),
        Appointment(time(9, 20), jeanne, "Fièvre depuis deux jours", "waiting", 15),
        Appointment(time(9, 40), paul, "Renouvellement", "coming"),
        Appointment(time(10, 10), ines, "Entorse de la cheville", "coming", 30),
        Appointment(time(11, 0), lucien, "Visite à domicile", "coming", 40),
    )


_DAYS = {
    "fr": ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS = {
    "fr": (
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ),
    "en": (
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ),
}


def long_date(day: date, language: str) -> str:
    """Return a date as it is spoken, such as "mardi 1er décembre"."""
    return f"{_DAYS[language][day.weekday()]} {_day(day, language)} {_month(day, language)}"


def short_date(day: date, language: str) -> str:
    """Return a date for a list, such as "24 octobre 2026"."""
    return f"{_day(day, language)} {_month(day, language)} {day.year}"


def _day(day: date, language: str) -> str:
    return "1er" if day.day == 1 and language == "fr" else str(day.day)


def _month(day: date, language: str) -> str:
    return _MONTHS[language][day.month - 1]
