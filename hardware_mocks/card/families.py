"""The two families of cards as dialects: IAS-ECC (CPS3, both interfaces) and ChipDoc (CPS4)."""

from __future__ import annotations

from hardware_mocks.card.crypto import chipdoc, ias_ecc
from hardware_mocks.card.dialect import Dialect
from hardware_mocks.card.file_commands import read_binary, select, update_binary
from hardware_mocks.card.object_commands import get_data
from hardware_mocks.card.pin_commands import change_reference_data, reset_retry_counter, verify

IAS_ECC = Dialect(
    commands={
        0x20: verify,
        0x22: ias_ecc.manage_security_environment,
        0x24: change_reference_data,
        0x2A: ias_ecc.perform_security_operation,
        0x2C: reset_retry_counter,
        0x84: ias_ecc.get_challenge,
        0x88: ias_ecc.internal_authenticate,
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

CHIPDOC = Dialect(
    commands={
        0x20: verify,
        0x22: chipdoc.manage_security_environment,
        0x24: change_reference_data,
        0x2A: chipdoc.perform_security_operation,
        0x2C: reset_retry_counter,
        0x84: ias_ecc.get_challenge,
        0xA4: select,
        0xB0: read_binary,
        0xD6: update_binary,  # inferred: seen on the CPS3 only
    },
    says_verified=False,  # 9000 would tell the ANS module that the PIN is blocked
    reference_mask=0x7F,  # RESET RETRY COUNTER names the PIN 81, VERIFY names it 01
    change_modes=frozenset({0x01}),
    unblock_modes=frozenset({0x03}),
    unblocking_lets_change=True,
)
