"""The errors of Pro Santé Connect in words; a part of the table of `cps_auth.wording`."""

from __future__ import annotations

from collections.abc import Mapping

from cps_auth import errors as e


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


PROVIDER_WORDS: Mapping[type[e.CpsAuthError], tuple[str, str]] = {
    e.ProviderTokenRefused: (
        _("The answer of Pro Santé Connect could not be verified."),
        _("Please try again."),
    ),
    e.ProviderIdentityRefused: (
        _("Pro Santé Connect did not say who you are in a form that can be used here."),
        _("Call the person who looks after this computer."),
    ),
    e.ProviderLevelTooLow: (
        _("Pro Santé Connect did not verify your identity strongly or lately enough."),
        _("Log in again with your card or your e-CPS."),
    ),
    e.ProviderLoginDeclined: (
        _("The login at Pro Santé Connect was cancelled or refused."),
        _("Try again, or log in another way."),
    ),
    e.ProviderUnavailable: (
        _("Pro Santé Connect does not answer."),
        _("Try again in a minute, or log in another way."),
    ),
}
