"""Card readers on USB that no driver of pcscd knows: what `doctor` says where PC/SC sees nothing.

Many readers of French practices are not CCID (Ingenico, formerly XIRING): pcscd finds them only
with their maker's own driver.

Source: USB class codes (0B, smart card); pcsc-lite, the keys of a driver's Info.plist; the kernel's
Documentation/ABI/testing/sysfs-bus-usb.
"""

from __future__ import annotations

import plistlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEVICES: Final = Path("/sys/bus/usb/devices")
DRIVERS: Final = Path("/usr/lib/pcsc/drivers")
_SMART_CARD: Final = "0b"
_MAKERS: Final = {0x0B00: "Ingenico", 0x0F14: "Ingenico (XIRING)"}
"""Vendors of readers that are not, or not all, CCID: by idVendor."""
_MOST_DEVICES: Final = 256


@dataclass(frozen=True, slots=True)
class UsbReader:
    """One device on the bus that is a card reader.

    Attributes:
        vendor, product: idVendor and idProduct.
        name: as the device calls itself, or its maker is called.
    """

    vendor: int
    product: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.vendor:04x}:{self.product:04x})"


def readers_without_driver(
    devices: Path = DEVICES, drivers: Path = DRIVERS
) -> tuple[UsbReader, ...]:
    """Return the readers on USB that no installed driver of pcscd knows. Never raises.

    Args:
        devices: where the kernel shows them.
        drivers: where pcscd finds its drivers.
    """
    known = set(_known(drivers))
    readers = card_readers(devices)
    return tuple(one for one in readers if (one.vendor, one.product) not in known)


def card_readers(devices: Path = DEVICES) -> tuple[UsbReader, ...]:
    """Return the card readers on USB. Never raises.

    Args:
        devices: where the kernel shows them.
    """
    return tuple(_readers(devices))


def _readers(devices: Path) -> Iterator[UsbReader]:
    for folder in sorted(devices.glob("[0-9]*-*"))[:_MOST_DEVICES]:
        if ":" in folder.name:
            continue  # an interface
        with suppress(OSError, ValueError):
            vendor = int(_line(folder / "idVendor"), 16)
            classes = {_line(path) for path in folder.glob("*:*/bInterfaceClass")}
            if vendor in _MAKERS or _SMART_CARD in classes:
                product = int(_line(folder / "idProduct"), 16)
                yield UsbReader(vendor, product, _name(folder, vendor))


def _name(folder: Path, vendor: int) -> str:
    said = []
    for file in ("manufacturer", "product"):
        with suppress(OSError):
            said.append(_line(folder / file))
    return " ".join(filter(None, said)) or _MAKERS.get(vendor, "USB")


def _line(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    return "".join(letter for letter in text if letter.isprintable())


def _known(drivers: Path) -> Iterator[tuple[int, int]]:
    """Yield vendor and product of each device that a driver names."""
    for path in drivers.glob("*/Contents/Info.plist"):
        with suppress(OSError, ValueError, KeyError, TypeError, plistlib.InvalidFileException):
            driver = plistlib.loads(path.read_bytes())
            vendors, products = driver["ifdVendorID"], driver["ifdProductID"]
            yield from (
                (int(vendor, 16), int(product, 16))
                for vendor, product in zip(vendors, products, strict=False)
            )
