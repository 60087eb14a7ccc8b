"""The network that this PC is on, as NetworkManager and nftables tell it.

Source: nmcli(1); nft(8). WPA2 with one key for everybody tells nothing of who else has it; 802.1X
admits each piece of equipment by its own credentials.
"""

from __future__ import annotations

import re
from datetime import datetime

from cps_auth.config import Settings
from pam_helper.posture.facts import Facts
from pam_helper.posture.model import Observation, Seen, observe


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_OPEN_WIFI = _("connected to a Wi-Fi network that anybody may join")
_HOTSPOT = _("this computer shares its network with other equipment")
_KNOWN_ONLY = _("the network admits only equipment it knows (802.1X)")
_WHO_ELSE = _("a computer does not see whose equipment else is on its network")
_NO_NMCLI = _("NetworkManager says nothing of the connections")
_FIREWALL = _("incoming connections are refused (nftables)")
_NO_FIREWALL = _("no rule of nftables refuses incoming connections")
_FIREWALL_UNKNOWN = _("only root sees the rules of nftables")
_FIREWALL_SILENT = _("nft does not say which rules there are")


def network(facts: Facts, _settings: Settings, _at: datetime) -> Observation:
    """Look at the networks in use; whose equipment else is on them no PC sees."""
    good, bad, unknown = list[Seen](), list[Seen](), list[Seen]()
    active = facts.run(
        "nmcli", "--terse", "--fields", "UUID,TYPE", "connection", "show", "--active"
    )
    kinds = [_network_kind(facts, line) for line in (active or "").splitlines()]
    kinds = [kind for kind in kinds if kind is not None]
    bad += [Seen(kind) for kind in kinds if kind in (_OPEN_WIFI, _HOTSPOT)]
    if not kinds:
        unknown.append(Seen(_NO_NMCLI))
    elif all(kind == _KNOWN_ONLY for kind in kinds):
        good.append(Seen(_KNOWN_ONLY))
    else:
        unknown.append(Seen(_WHO_ELSE))
    rules = facts.run("nft", "list", "ruleset") if facts.is_root else None
    if rules is None:
        unknown.append(Seen(_FIREWALL_SILENT if facts.is_root else _FIREWALL_UNKNOWN))
    elif re.search(r"hook input [^;]*;\s*policy drop", rules):
        good.append(Seen(_FIREWALL))
    else:
        bad.append(Seen(_NO_FIREWALL))
    return observe("network", good=good, bad=bad, unknown=unknown)


def _network_kind(facts: Facts, line: str) -> str | None:
    """Return what a connection says; None for what reaches no other equipment."""
    uuid, _, kind = line.partition(":")
    if kind not in ("802-11-wireless", "802-3-ethernet"):
        return None
    fields = "802-11-wireless-security.key-mgmt,802-1x.eap,ipv4.method"
    told = facts.run("nmcli", "--terse", "--fields", fields, "connection", "show", uuid) or ""
    values = dict(one.split(":", 1) for one in told.splitlines() if ":" in one)
    if values.get("ipv4.method") == "shared":
        return _HOTSPOT
    if values.get("802-1x.eap"):
        return _KNOWN_ONLY
    key = values.get("802-11-wireless-security.key-mgmt", "")
    return _OPEN_WIFI if kind == "802-11-wireless" and told and key in ("", "none") else _WHO_ELSE
