"""The IAS-ECC dialect, of the CPS3 on both its interfaces."""

from __future__ import annotations

from hardware_mocks.card.crypto.ias_ecc import (
    get_challenge,
    internal_authenticate,
    manage_security_environment,
    perform_security_operation,
)
from hardware_mocks.card.dialect import Dialect
from hardware_mocks.card.file_commands import read_binary, select, update_binary
from hardware_mocks.card.object_commands import get_data
from hardware_mocks.card.pin_commands import change_reference_data, reset_retry_counter, verify

IAS_ECC = Dialect(
    commands={
        0x20: verify,
        0x22: manage_security_environment,
        0x24: change_reference_data,
        0x2A: perform_security_operation,
        0x2C: reset_retry_counter,
        0x84: get_challenge,
        0x88: internal_authenticate,
        0xA4: select,
        0xB0: read_binary,
        0xCB: get_data,
        0xD6: update_binary,
    },
    says_verified=True,
    reference_mask=0xFF,
    change_modes=frozenset({0x00, 0x01}),
    unblock_modes=frozenset({0x02, 0x03}),
    unblocking_lets_change=False,
)
