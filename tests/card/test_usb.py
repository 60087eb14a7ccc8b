"""Readers on USB without a driver: found from what the kernel and pcscd's drivers say."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from cps_auth.card.usb import DRIVERS, readers_without_driver


class Bus:
    """A sysfs and a folder of drivers of one's own."""

    def __init__(self, folder: Path) -> None:
        self.devices, self.drivers = folder / "devices", folder / "drivers"
        for path in (self.devices, self.drivers):
            path.mkdir()

    def plug(self, port: str, ids: str, classes: str = "", **said: str) -> None:
        """Plug a device in: `vendor:product`, the classes of its interfaces, its own words."""
        device = self.devices / port
        device.mkdir()
        vendor, product = ids.split(":")
        files = {"idVendor": vendor, "idProduct": product, **said}
        for name, text in files.items():
            (device / name).write_text(f"{text}\n", encoding="latin-1")
        for number, kind in enumerate(classes.split()):
            interface = device / f"{port}:1.{number}"
            interface.mkdir()
            (interface / "bInterfaceClass").write_text(f"{kind}\n")

    def install(self, *ids: str) -> None:
        """Install a driver for these devices."""
        contents = self.drivers / "ifd.bundle/Contents"
        contents.mkdir(parents=True)
        vendors, products = zip(*(one.split(":") for one in ids), strict=True)
        driver = {
            "ifdVendorID": [f"0x{one}" for one in vendors],
            "ifdProductID": [f"0x{one}" for one in products],
        }
        (contents / "Info.plist").write_bytes(plistlib.dumps(driver))

    def missing(self) -> list[str]:
        """Return what `doctor` would name."""
        return [str(reader) for reader in readers_without_driver(self.devices, self.drivers)]


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    """An empty bus."""
    return Bus(tmp_path)


def test_a_french_reader_that_is_not_ccid(bus: Bus) -> None:
    """Known by its maker; its class tells nothing."""
    bus.install("08e6:3437")
    bus.plug("1-1", "0b00:0090", "ff", manufacturer="INGENICO", product="Vital'Act 3S")
    bus.plug("1-2", "08e6:3437", "0b", product="Gemplus")
    bus.plug("1-3", "046d:c31c", "03 03", product="USB Keyboard")
    assert bus.missing() == ["INGENICO Vital'Act 3S (0b00:0090)"]


def test_a_smart_card_reader_that_no_driver_lists(bus: Bus) -> None:
    """Whoever makes it: the class of its interface tells."""
    bus.plug("2-1.4", "1234:5678", "03 0b")
    assert bus.missing() == ["USB (1234:5678)"]


def test_its_makers_driver_is_there(bus: Bus) -> None:
    """Then it is no finding."""
    bus.install("0b00:0090")
    bus.plug("1-1", "0b00:0090", "ff")
    assert bus.missing() == []


def test_whatever_the_files_hold(bus: Bus, tmp_path: Path) -> None:
    """Rubbish, a device that is just leaving and no bus at all: nothing, and no exception."""
    bus.install("08e6:3437")
    (bus.drivers / "ifd.bundle/Contents/Info.plist").write_bytes(b"\xff\x00<plist>")
    bus.plug("1-1", "zzzz:0090", "0b")
    bus.plug("1-2", "0b00:0090", manufacturer="Ing\xe9nico\x1b[31m")
    (bus.devices / "1-3").mkdir()
    assert bus.missing() == ["Ing\ufffdnico[31m (0b00:0090)"]
    assert readers_without_driver(tmp_path / "none", tmp_path / "none") == ()


@pytest.mark.skipif(not DRIVERS.exists(), reason="no pcscd here")
def test_debians_own_driver_is_read(tmp_path: Path) -> None:
    """The list of libccid has hundreds of readers, of which this is one."""
    bus = Bus(tmp_path)
    bus.plug("1-1", "08e6:3437", "0b")
    assert readers_without_driver(bus.devices) == ()
