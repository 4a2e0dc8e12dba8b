"""Messages that nothing is on are emptied in their places; what has anything on it, or a thread, is taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quire.channels.manager import ChannelManager
from quire.storage import timeline as rows
from quire.store.local import LocalStore
from tests import oracle

NEEDLE = "zanzibarquux"


def places(store: LocalStore) -> dict[bytes, tuple[int, int]]:
    found: Any = store.database.reader.execute("SELECT id, time, spill FROM message").fetchall()
    return {id: (time, spill) for id, time, spill in found}


def statements(store: LocalStore, of: str) -> list[str]:
    """Those that begin so, and are carried out from now on."""
    seen: list[str] = []
    store.database.writer.set_profile(lambda sql, _: seen.append(sql) if sql.startswith(of) else None)
    return seen


def test_what_stands_alone_keeps_its_row_and_nothing_else(
    store: LocalStore, manager: ChannelManager, tmp_path: Path
) -> None:
    team = manager.create_channel("team").id
    file = tmp_path / f"{NEEDLE}.txt"
    file.write_text(NEEDLE)
    ids = [manager.send_message(team, f"{NEEDLE} {n} `code` https://{NEEDLE}.example").id for n in range(5)]
    answer = manager.send_message(team, NEEDLE, reply_to=ids[0]).id
    stays = manager.send_message(team, "stays").id
    store.compact()  # out of the index's tail, but for the next
    with_file = manager.send_message(team, NEEDLE, files=[file]).id
    before = places(store)
    deleted = statements(store, "DELETE FROM message")
    receipt = manager.erase_messages([*ids, answer, with_file])
    assert deleted == []
    assert places(store) == before
    assert len(receipt.erased) == 7
    assert manager.check_receipt(receipt) == []
    assert [m.body for m in manager.get_stored_messages(team)] == [""] * 6 + ["stays", ""]
    assert manager.search(NEEDLE).hits == ()
    assert not store.get_message(with_file).attachments
    assert NEEDLE.encode() not in store.database.reader.serialize("main")
    assert not [
        one for one in (store.folder / "attachments").rglob("*") if one.is_file() and one.name != "lock"
    ]
    assert manager.list_channels()[0].messages == 1
    assert store.get_message(stays).body == "stays"
    assert store.verify().problems == ()
    oracle.check(store)


def test_it_comes_to_what_taking_it_apart_comes_to(
    store: LocalStore, manager: ChannelManager, monkeypatch: Any
) -> None:
    """One at a time, each in a channel of its own: emptied in place, taken apart, and built anew from the log."""
    from quire.store import emptying

    def left_of(channel: str) -> list[Any]:
        team = manager.create_channel(channel).id
        plain, root, edited, pinned, reacted, deleted = (
            manager.send_message(team, f"m{n}").id for n in range(6)
        )
        manager.send_message(team, "reply", thread=root)
        manager.edit_message(edited, "m2 again")
        manager.pin(pinned)
        manager.add_reaction(reacted, "x")
        manager.delete_message(deleted)
        manager.erase_messages([plain, root, edited, pinned, reacted, deleted])
        found: Any = store.database.reader.execute(
            "SELECT flags, author, root IS NULL, edit, substr(op, 17, 8) FROM message WHERE channel ="
            " (SELECT n FROM channel WHERE id = ?) ORDER BY time, id",
            (team,),
        ).fetchall()
        return list(found)

    in_place = left_of("one")
    monkeypatch.setattr(emptying, "_alone", lambda db, standing: [])
    assert left_of("two") == in_place
    assert in_place[0][0] == rows.HOLLOW | rows.ERASED | rows.DELETED | rows.OURS
    assert store.repair().problems == ()
