"""Errors of a vendor's PKCS#11 module; see `cps_auth.errors`."""

from __future__ import annotations

from cps_auth.errors.root import InstallationError


class ModuleUnusable(InstallationError):
    """The PKCS#11 module cannot be loaded, crashed, or did not answer in time."""

    code = "module-unusable"
    what: str  # what happened, in technical words
    cause: str = ""  # missing: there is no such file, or no such module is installed


class ModuleCannotLogIn(InstallationError):
    """This version of the PKCS#11 module is known to fail at every login; no PIN was sent."""

    code = "module-cannot-log-in"
    module: str  # its name and version
