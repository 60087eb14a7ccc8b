"""The messages between the parent and the module's child process.

One frame is a 4-byte big-endian length and a MessagePack value. A PIN or PUK is never inside
a message: it follows its request as a frame of raw bytes, so that no decoder makes a copy of it.
"""

from __future__ import annotations

from io import FileIO

import msgspec

LENGTH_BYTES = 4
IDLE_S = 60
"""A child whose module is loaded ends itself after so many seconds without a question."""
FRAME_LIMIT_BYTES = 1 << 20  # a token holds a few certificates of some kB; more is nonsense


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything that goes over the pipes."""


# --- Parent to child -------------------------------------------------------------


class Load(Message, frozen=True, tag=True):
    """Load and initialise the module. The first request."""


class ListSlots(Message, frozen=True, tag=True):
    """Ask for every slot of the module."""


class ReadToken(Message, frozen=True, tag=True):
    """Ask what the token in one slot says without a PIN."""

    slot_id: int
    with_certificates: bool = True


class ReadPublicObjects(Message, frozen=True, tag=True):
    """Ask for the data objects that need no PIN."""

    slot_id: int
    serial: str  # of the token that is meant


class VerifyAndSign(Message, frozen=True, tag=True):
    """Log in, sign, log out. The PIN follows as a raw frame, unless it is typed on the reader.

    The token is read first. One that wants no login, is blocked, or has its last attempt left
    while that is not allowed, sees no PIN: the answer is then what it said, a `TokenSeen`. Nor
    does one that is not there, or is another: it has `Failed` before the PIN.
    """

    slot_id: int
    serial: str  # of the token that may see the PIN
    modulus: bytes  # of the certificate's key, big-endian, no leading zero
    key_id: bytes  # CKA_ID of the certificate, empty when it has none
    digest_info: bytes  # what CKM_RSA_PKCS pads and signs
    on_pin_pad: bool = False
    last_attempt_allowed: bool = False


class ChangePin(Message, frozen=True, tag=True):
    """Replace the PIN. The old and the new one follow as raw frames."""

    slot_id: int
    serial: str  # of the token that may see them


class Unblock(Message, frozen=True, tag=True):
    """Replace the PIN with the PUK. The PUK and the new PIN follow as raw frames."""

    slot_id: int
    serial: str  # of the token that may see them


class Idle(Message, frozen=True, tag=True):
    """An idle notice: nobody uses the module until something is asked. It is not answered."""


WithPin = VerifyAndSign | ChangePin | Unblock
Question = ListSlots | ReadToken | ReadPublicObjects | WithPin
Request = Question | Load | Idle


def codes_after(request: Question) -> int:
    """Return how many raw frames follow a request."""
    match request:
        case VerifyAndSign(on_pin_pad=on_pin_pad):
            return 0 if on_pin_pad else 1
        case ChangePin() | Unblock():
            return 2
        case _:
            return 0


# --- Child to parent -------------------------------------------------------------


class Ready(Message, frozen=True, tag=True):
    """The module is loaded and initialised."""


class CertificateSeen(Message, frozen=True):
    """One X.509 certificate object."""

    key_id: bytes  # CKA_ID, empty when the object has none
    unverified_certificate_der: bytes


class TokenSeen(Message, frozen=True, tag=True):
    """One token (PKCS#11 CK_TOKEN_INFO) and its public certificates."""

    serial: str
    label: str
    initialised: bool
    login_required: bool
    pin_final_try: bool  # CKF_USER_PIN_FINAL_TRY
    pin_locked: bool  # CKF_USER_PIN_LOCKED
    puk_final_try: bool  # CKF_SO_PIN_FINAL_TRY
    puk_locked: bool  # CKF_SO_PIN_LOCKED
    tells_puk: bool  # whether those two flags are to be believed when they are not set
    has_pin_pad: bool  # CKF_PROTECTED_AUTHENTICATION_PATH
    certificates: tuple[CertificateSeen, ...] | None = None  # None: not asked for


class SlotSeen(Message, frozen=True):
    """One slot (PKCS#11 CK_SLOT_INFO)."""

    slot_id: int
    description: str  # for a smart card reader, its PC/SC name cut at 64 bytes
    removable: bool  # CKF_REMOVABLE_DEVICE
    has_token: bool = True  # CKF_TOKEN_PRESENT, whatever it is worth
    token: TokenSeen | None = None  # said at once of a slot that takes no reader: not removable


class SlotsSeen(Message, frozen=True, tag=True):
    """Every slot, in the module's order."""

    slots: tuple[SlotSeen, ...]


class ObjectSeen(Message, frozen=True):
    """One data object."""

    label: str
    unverified_content: bytes


class ObjectsSeen(Message, frozen=True, tag=True):
    """The data objects that need no PIN."""

    objects: tuple[ObjectSeen, ...]


class Signed(Message, frozen=True, tag=True):
    """The signature; the session is logged out and closed."""

    signature: bytes
    is_pss: bool = False  # SHA-256, MGF1 with it, a salt of 32 bytes


class Done(Message, frozen=True, tag=True):
    """It is done; the session is logged out and closed."""


class Failed(Message, frozen=True, tag=True):
    """The request failed; never carries data of the request."""

    name: str  # the class that python-pkcs11 raised, named after the CKR_ value
    detail: str = ""  # only for a module that could not be loaded
    before_pin: bool = False  # the module has not seen the PIN that came with the request
    token: TokenSeen | None = None  # as it was after it had refused the PIN
    cannot_log_in: str = ""  # the module and its version, where they are known for that


Reply = Ready | SlotsSeen | TokenSeen | ObjectsSeen | Signed | Done | Failed


# --- Frames ----------------------------------------------------------------------


def length_prefix(payload: bytes | bytearray) -> bytes:
    """Return what goes before a payload."""
    return len(payload).to_bytes(LENGTH_BYTES, "big")


def payload_length(prefix: bytes | bytearray) -> int | None:
    """Return the length that a prefix announces, None when it is over the limit."""
    length = int.from_bytes(prefix, "big")
    return length if length <= FRAME_LIMIT_BYTES else None


def read_frame(pipe: FileIO) -> bytearray:
    """Read one payload into a buffer that its reader can wipe.

    Raises:
        EOFError: the other side has gone, or announced an absurd length.
    """
    length = payload_length(_read_exactly(pipe, LENGTH_BYTES))
    if length is None:
        raise EOFError
    return _read_exactly(pipe, length)


def write_message(pipe: FileIO, message: Reply) -> None:
    """Write one message as a frame."""
    payload = msgspec.msgpack.encode(message)
    unsent = memoryview(length_prefix(payload) + payload)
    while unsent:
        unsent = unsent[pipe.write(unsent) :]


def _read_exactly(pipe: FileIO, count: int) -> bytearray:
    buffer = bytearray(count)
    missing = memoryview(buffer)
    while missing:
        got = pipe.readinto(missing)
        if not got:
            raise EOFError
        missing = missing[got:]
    return buffer
