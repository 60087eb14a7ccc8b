"""PAM services that a card may answer: an allow-list. Everything else is refused.

The names are those of Debian 12 and 13 and of the programs that `docs/pam.md` lists. The
administrator adds others in `pam.lockers` and `pam.others` of the settings.
"""

from __future__ import annotations

import enum

from cps_auth.config import PamSettings


class ServiceRole(enum.Enum):
    """Roles of services: the effect of a yes, besides the yes."""

    CONSOLE = "console"  # opens a session of its own
    SCREEN = "screen"  # opens one, or a screen that is locked: display managers and lockers
    STEP_UP = "step-up"  # nothing: it asks inside a session, or away from this screen


_CONSOLE = ("login",)
_DISPLAY_MANAGERS = (
    "gdm-password", "gdm-smartcard", "gdm-smartcard-sssd-exclusive",
    "gdm-smartcard-sssd-or-password", "gdm-smartcard-pkcs11-exclusive", "gdm", "gdm3",
    "sddm", "lightdm", "lxdm", "slim", "wdm", "xdm", "greetd", "ly", "kdm", "cosmic-greeter",
)  # fmt: skip
_LOCKERS = (
    "kde", "kde-smartcard", "kscreensaver", "kcheckpass", "gnome-screensaver",
    "cinnamon-screensaver", "mate-screensaver", "xfce4-screensaver", "budgie-screensaver",
    "xscreensaver", "xsecurelock", "common-auth",  # Debian's xsecurelock asks by this one
    "i3lock", "swaylock", "gtklock", "hyprlock", "waylock", "xlock", "xtrlock", "physlock", "vlock",
)  # fmt: skip
_STEP_UP = ("sudo", "sudo-i", "su", "su-l", "polkit-1", "doas")

_ROLES = {
    **dict.fromkeys(_CONSOLE, ServiceRole.CONSOLE),
    **dict.fromkeys(_DISPLAY_MANAGERS + _LOCKERS, ServiceRole.SCREEN),
    **dict.fromkeys(_STEP_UP, ServiceRole.STEP_UP),
}


def role_of(service: str, settings: PamSettings) -> ServiceRole | None:
    """Return the role of a service, None for one that is not answered."""
    if service in settings.lockers:
        return ServiceRole.SCREEN
    return ServiceRole.STEP_UP if service in settings.others else _ROLES.get(service)


def seat_services() -> frozenset[str]:
    """Return the known services by which somebody in front of a PC logs in or unlocks."""
    return frozenset(name for name, role in _ROLES.items() if role is not ServiceRole.STEP_UP)
