"""Receipts of erasures as files: JSON that a person can read, and `quire erase --verify --receipt` can check."""

from __future__ import annotations

from pathlib import Path

import msgspec

from quire.core.ids import ChannelId, MessageId, message_id_text, whole_message_id
from quire.core.reports import Erased, ErasureReceipt
from quire.errors import UsageError
from quire.storage.files import replace_file

VERSION = 1


class _Line(msgspec.Struct):
    operation: str
    message: str
    channel: str
    commitment: str
    kind: str = "message"


class _File(msgspec.Struct):
    quire_receipt: int
    erasures: list[str]
    erased: list[_Line]
    reason: str = ""


def receipt_fields(receipt: ErasureReceipt) -> dict[str, object]:
    """A receipt as plain values."""
    fields: dict[str, object] = msgspec.to_builtins(_file(receipt))
    return fields


def write_receipt(path: Path, receipt: ErasureReceipt) -> None:
    """Durably, in place of what was there. Raises: StorageError."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(_file(receipt)), indent=1) + b"\n")


def read_receipt(path: Path) -> ErasureReceipt:
    """Raises: UsageError(rule="file_unreadable" or "receipt_form")."""
    try:
        held = msgspec.json.decode(path.read_bytes(), type=_File)
        if held.quire_receipt != VERSION:
            raise ValueError("of another version")
        erasures = tuple(whole_message_id(one) for one in held.erasures)
        return ErasureReceipt(erasures, tuple(map(_erased, held.erased)), held.reason)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", rule="file_unreadable", hint="check the path"
        ) from error
    except (msgspec.MsgspecError, ValueError, UsageError) as error:
        raise UsageError(
            f"{path} is no receipt of an erasure: {error}",
            rule="receipt_form",
            hint="quire erase --receipt writes one",
        ) from error


def _file(receipt: ErasureReceipt) -> _File:
    lines = [
        _Line(
            message_id_text(one.id),
            message_id_text(one.message),
            one.channel.hex(),
            one.commitment.hex(),
            one.kind,
        )
        for one in receipt.erased
    ]
    return _File(VERSION, [message_id_text(id) for id in receipt.erasures], lines, receipt.reason)


def _erased(one: _Line) -> Erased:
    operation, message = whole_message_id(one.operation), whole_message_id(one.message)
    return Erased(
        MessageId(operation),
        MessageId(message),
        ChannelId(bytes.fromhex(one.channel)),
        bytes.fromhex(one.commitment),
        one.kind,
    )
