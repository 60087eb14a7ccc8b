"""SELECT, READ BINARY, UPDATE BINARY (ISO/IEC 7816-4:2013 sections 11.1 and 11.2)."""

from __future__ import annotations

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.ber import tlv
from hardware_mocks.card.command import Command
from hardware_mocks.card.content.file_system import (
    MASTER_FILE,
    READ,
    UPDATE,
    DedicatedFile,
    ElementaryFile,
)
from hardware_mocks.card.session import Session

_BY_FID, _CHILD_EF, _PARENT, _BY_AID, _PATH_FROM_MF, _PATH_FROM_DF = 0, 2, 3, 4, 8, 9
_FCI, _FCP, _NOTHING = 0x00, 0x04, 0x0C
_TEMPLATE_TAGS = {_FCI: 0x6F, _FCP: 0x62}


def select(session: Session, command: Command) -> bytes:
    """Make a file current and describe it as P2 asks."""
    if command.p2 not in (_FCI, _FCP, _NOTHING):
        raise sw.Refusal(sw.WRONG_P1P2)
    if command.p1 == _BY_AID:
        return _select_application(session, command)
    file = _find(session, command)
    _make_current(session, file)
    tag = _TEMPLATE_TAGS.get(command.p2)
    return b"" if tag is None else tlv(tag, file.control_parameters())


def _select_application(session: Session, command: Command) -> bytes:
    """By AID a real CPS3 gives no template, whatever P2 asks."""
    for root in (session.contents.master_file, *session.contents.other_applications):
        found = next((df for df in root.directories() if df.aid and df.aid == command.data), None)
        if found is None:
            continue
        if command.p2 == _FCI and not found.takes_fci_by_aid:
            raise sw.Refusal(sw.WRONG_P1P2)
        session.enter(root)
        _make_current(session, found)
        return b""
    raise sw.Refusal(sw.FILE_NOT_FOUND)


def _find(session: Session, command: Command) -> DedicatedFile | ElementaryFile:
    root, here, data = session.root, session.current_df, command.data
    if command.p1 == _PARENT:
        if data:
            raise sw.Refusal(sw.WRONG_LENGTH)
        return root.parent_of(here)
    if command.p1 == _BY_FID:
        return _by_fid(root, here, _fids(data or MASTER_FILE.to_bytes(2), at_most=1)[0])
    if command.p1 == _CHILD_EF:
        return _child_ef(root, here, _fids(data, at_most=1)[0])
    if command.p1 in (_PATH_FROM_MF, _PATH_FROM_DF):
        path = _fids(data)
        from_root = command.p1 == _PATH_FROM_MF or path[0] == MASTER_FILE
        if path[0] == MASTER_FILE:
            path = path[1:]
        return _walk(root if from_root else here, path)
    raise sw.Refusal(sw.WRONG_P1P2)


def _fids(data: bytes, at_most: int = 8) -> list[int]:
    if not data or len(data) % 2 or len(data) > 2 * at_most:
        raise sw.Refusal(sw.WRONG_LENGTH)
    return [int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2)]


def _by_fid(root: DedicatedFile, here: DedicatedFile, fid: int) -> DedicatedFile | ElementaryFile:
    if fid == MASTER_FILE:
        return root
    parent = root.parent_of(here)
    # 7816-4 section 7.1.1: below the current DF, then the parent and its children, itself.
    candidates = (here.child(fid), parent if parent.fid == fid else None, parent.child(fid))
    file = next((file for file in candidates if file is not None), None)
    if file is None:
        raise sw.Refusal(sw.FILE_NOT_FOUND)
    return file


def _child_ef(root: DedicatedFile, here: DedicatedFile, fid: int) -> DedicatedFile | ElementaryFile:
    if fid == MASTER_FILE:  # inferred: OpenSC asks so for the MF, and real cards bear with it
        return root
    file = here.child(fid)
    if not isinstance(file, ElementaryFile):
        raise sw.Refusal(sw.FILE_NOT_FOUND)
    return file


def _walk(start: DedicatedFile, path: list[int]) -> DedicatedFile | ElementaryFile:
    file: DedicatedFile | ElementaryFile | None = start
    for fid in path:
        file = file.child(fid) if isinstance(file, DedicatedFile) else None
    if file is None:
        raise sw.Refusal(sw.FILE_NOT_FOUND)
    return file


def _make_current(session: Session, file: DedicatedFile | ElementaryFile) -> None:
    if isinstance(file, DedicatedFile):
        session.current_df, session.current_ef = file, None
    else:
        session.current_df = session.root.parent_of(file)
        session.current_ef = file


def read_binary(session: Session, command: Command) -> bytes:
    """Return up to Le bytes. Past the end: what there is, and 9000 (inferred)."""
    file, offset = _target(session, command)
    session.require(file.rules.condition(READ))
    if offset >= max(len(file.content), 1):
        raise sw.Refusal(sw.OFFSET_OUTSIDE)
    wanted = command.le or 256
    most = session.contents.quirks.most_read
    return bytes(file.content[offset : offset + (wanted if most is None else min(wanted, most))])


def update_binary(session: Session, command: Command) -> bytes:
    """Overwrite bytes of a file; a file never grows."""
    file, offset = _target(session, command)
    session.require(file.rules.condition(UPDATE))
    if offset + len(command.data) > len(file.content):
        raise sw.Refusal(sw.OFFSET_OUTSIDE)
    file.content[offset : offset + len(command.data)] = command.data
    return b""


def _target(session: Session, command: Command) -> tuple[ElementaryFile, int]:
    """P1 with bit 8: short identifier and an offset in P2; else an offset in the current EF."""
    if command.p1 & 0x80:
        if command.p1 & 0x60:
            raise sw.Refusal(sw.WRONG_P1P2)
        file = session.current_df.file_with_sfi(command.p1 & 0x1F)
        if file is None:
            raise sw.Refusal(sw.FILE_NOT_FOUND)
        session.current_ef = file
        return file, command.p2
    if session.current_ef is None:
        raise sw.Refusal(sw.NO_CURRENT_EF)
    return session.current_ef, command.p1p2
