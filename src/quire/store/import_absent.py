"""Records whose message is in no file of the export: found in an earlier import by name, or kept for what they say.

Most such records are dropped and counted. An edit whose format makes it whole (Matrix: it carries all of the new text)
is kept as the message instead, by its own id and time, so that importing it again finds it.
"""

from __future__ import annotations

from collections.abc import Container

from quire.exchange import model
from quire.store.additions import EVENTS, Event


def unfound(waiting: list[model.Message | Event], known: Container[int]) -> dict[str, set[str]]:
    """Channel -> original ids that are named without their time, and are not among those `known` by their hash."""
    missing: dict[str, set[str]] = {}
    for record in waiting:
        for target, time_ms in _targets(record):
            if time_ms is None and target and hash((record.channel, target)) not in known:
                missing.setdefault(record.channel, set()).add(target)
    return missing


def with_stand_ins(
    waiting: list[model.Message | Event], known: Container[int]
) -> list[model.Message | Event]:
    """`waiting`, where the earliest edit of each message that is nowhere stands as that message."""
    present = {hash((record.channel, record.id)) for record in waiting if isinstance(record, model.Message)}
    first: dict[int, model.EditEvent] = {}
    for record in waiting:
        if isinstance(record, model.EditEvent) and record.stands and record.edit.id:
            slot = hash((record.channel, record.target))
            earliest = first.get(slot)
            if slot not in present and slot not in known:
                later = earliest is not None and earliest.edit.time_ms <= record.edit.time_ms
                first[slot] = earliest if later and earliest else record
    chosen = {id(event) for event in first.values()}
    return [_message(record) if id(record) in chosen else record for record in waiting]


def _message(event: model.Message | Event) -> model.Message | Event:
    if not isinstance(event, model.EditEvent):
        return event
    edit = event.edit
    return model.Message(
        event.channel, edit.id, edit.time_ms, edit.author, edit.body, edited_ms=edit.time_ms, ref=event.target
    )


def _targets(record: model.Message | Event) -> tuple[tuple[str, int | None], ...]:
    if isinstance(record, EVENTS):
        return ((record.target, record.target_time_ms),)
    return (
        (record.thread, record.thread_time_ms),
        ("" if record.reply_to == model.GONE else record.reply_to, record.reply_to_time_ms),
    )
