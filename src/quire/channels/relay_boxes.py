"""Which mailboxes of a relay may hold something for us.

Their names are derived from keys: of each epoch for what is said and for who may do what, of each invite that is open, or was
lately, for requests, and of our identity for welcomes and refusals (core/crypto/mailboxes.py).
"""

from __future__ import annotations

import msgspec

from quire.channels.manager import ChannelManager
from quire.core.crypto.epochs import EpochKey, epoch_id
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.mailboxes import content_mailbox, control_mailbox, file_mailbox, inbox, invite_mailbox
from quire.core.ids import ChannelId
from quire.core.membership import InviteInfo
from quire.core.reach import FIRST
from quire.storage import keychain, log
from quire.storage.database import guarded
from quire.store.wallclock import now_ms

FILE_EPOCHS_MAX = 8  # whose files are looked for
LATELY_MS = 30 * 24 * 3_600_000  # an invite that expired longer ago is not answered
CLOSED_MAX = 64  # invites of a channel that let nobody in and are answered
LOOK_MS = 60_000  # invites expire, keys grow old: what follows from them is looked at so often


class Boxes(msgspec.Struct, frozen=True):
    """Mailboxes by name: those that are followed from where we were, and those that are read from the newest on."""

    followed: dict[bytes, SigningKey]
    content: dict[bytes, tuple[SigningKey, int]]  # and its rank: which is read first


class Mailboxes:
    """The mailboxes of a vault; what was found is remembered, for it is asked after each message."""

    def __init__(self, chat: ChannelManager) -> None:
        self._chat = chat
        self._store = chat.store
        self._boxes: tuple[object, Boxes] = ((), Boxes({}, {}))

    @guarded
    def all(self) -> Boxes:
        """All that may hold something for us."""
        db, people, now = self._store.database.reader, self._store.ledger.people, now_ms()
        epochs, rows = keychain.all_epoch_keys(db), log.channels(db)
        state = (epochs, [(row.n, row.heads, row.role) for row in rows], now // LOOK_MS)
        if state == self._boxes[0]:
            return self._boxes[1]
        keys = [control_mailbox(EpochKey(key), ChannelId(channel)) for channel, key in epochs]
        keys.append(inbox(self._chat.identity))
        # By epoch: those of the self-channel hold keys, so they come first; then the newest of each channel.
        ranks: dict[bytes, int] = {}
        for row in rows:
            state_of = people.state(db, row) if row.role else None
            invites = state_of.invites.values() if state_of else ()
            keys += [invite_mailbox(key, row.id) for key in _answered(list(invites), now)]
            for rank, info in enumerate(state_of.epochs.every() if state_of else (), FIRST + 1):
                ranks[info.epoch] = FIRST if row.kind == "self" else rank
        content: dict[bytes, tuple[SigningKey, int]] = {}
        for channel, held in epochs:
            key, id = EpochKey(held), ChannelId(channel)
            box = content_mailbox(key, id)
            content[box.public] = box, ranks.get(epoch_id(key, id), FIRST + 1)
        self._boxes = state, Boxes({key.public: key for key in keys}, content)
        return self._boxes[1]

    @guarded
    def of_files(self) -> dict[bytes, SigningKey]:
        """Those that may hold files of the last epochs, by their names; to be read after all others."""
        db, people = self._store.database.reader, self._store.ledger.people
        found: dict[bytes, SigningKey] = {}
        for row in log.channels(db):
            held = keychain.epoch_keys(db, row.id)
            for info in people.state(db, row).epochs.every()[:FILE_EPOCHS_MAX] if row.role else ():
                if info.epoch in held:
                    key = file_mailbox(EpochKey(held[info.epoch]), row.id)
                    found[key.public] = key
        return found


def _answered(invites: list[InviteInfo], now_ms: int) -> list[bytes]:
    """The invites whose requests are answered: those that are open, and for some time others, with a refusal."""
    closed = [
        one.key
        for one in invites
        if not one.open_at(now_ms) and (not one.expires_ms or one.expires_ms > now_ms - LATELY_MS)
    ]
    return [one.key for one in invites if one.open_at(now_ms)] + closed[-CLOSED_MAX:]
