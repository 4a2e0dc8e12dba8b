"""Linking a second device of one's own by a short code: what each side's vault does (core/crypto/linking.py).

    host (has a vault)                 guest (will have one)
    code shown           ------->      code typed
                         <-- 1 --      start()
    answer(1)            -- 2 -->      offer(2)
    grant(3)             <-- 3 --
                         -- 4 -->      finish(4): the vault appears

Any road carries the four messages. The certificate is the host device's; the recovery phrase stays where it is. What
the guest reads first is the self-channel's control log; everything else comes to it in bundles.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from quire.core.control import Device
from quire.core.crypto import linking, sealing
from quire.core.crypto.keys import SigningKey, certify, decode_certificate
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.secrets import Secret, Unlock
from quire.core.ids import DeviceId, IdentityId
from quire.core.operation import OWN_SOURCE
from quire.core.welcome import open_welcome, seal_welcome
from quire.errors import UsageError
from quire.storage import log
from quire.storage.meta import get_meta, set_meta
from quire.store import group
from quire.store.bundling import control_log, with_key
from quire.store.creation import NewDevice, create_linked
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore


class LinkHost:
    """The side that shows the code. One code serves one attempt."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._created_ms = now_ms()
        self.code = LinkCode.generate(os.urandom)
        self.device = b""  # of the guest, once it is granted
        identity = store.ledger.people.identity
        self._side = linking.OldDevice(self.code, identity, self._created_ms, os.urandom)

    def answer(self, message: bytes) -> bytes:
        """Message 2. Raises: MalformedError, UsageError(rule="code_spent")."""
        return self._side.answer(message)

    def grant(self, message: bytes, *, name: str = "") -> bytes:
        """Message 4: make the guest one of our devices, in every channel.

        name    what we call it

        Raises: MalformedError, UnauthorisedError(rule="code_wrong"), UsageError(rule="code_spent").
        """
        offer = self._side.receive(message)
        store, pen = self._store, self._store.ledger
        identity, device = pen.people.identity, DeviceId(offer.device)
        certificate = certify(
            pen.signing_key, identity, device, offer.sealing, self._created_ms, offer.consent
        ).encode()
        entry = Device(certificate, offer.sealing)
        db = store.database.reader
        with_key(store, log.self_channel(db).id)
        pen.run(lambda db: group.add_own_device(pen, db, entry, name))
        row = log.self_channel(db)
        commits = list(control_log(db, row, pen.people.graph(db, row)))
        self.device = offer.device
        return self._side.grant(certificate, seal_welcome(row.id, commits, [offer.sealing], os.urandom))


class LinkGuest:
    """The side where the code is typed, and where a vault appears, or a restored one becomes a device of its owner."""

    def __init__(self, code: LinkCode | str, restored: LocalStore | None = None) -> None:
        """
        restored    a vault that waits for its certificate; None: there is none yet

        Raises: UsageError(rule="code_form"): mistyped; the attempt is not lost.
        """
        typed = self.code = LinkCode(code) if isinstance(code, str) else code
        self._restored = restored
        if restored is None:
            self._signing = SigningKey.generate(os.urandom)
            self._seed = Secret(os.urandom(sealing.SEED_SIZE))
        else:
            db = restored.database.reader
            self._signing = SigningKey(bytes(get_meta(db, "device_seed")))
            self._seed = Secret(bytes(get_meta(db, "sealing_seed")))
        public = sealing.public_of(self._seed.reveal())
        self._side = linking.NewDevice(typed, self._signing, public, os.urandom)

    def start(self) -> bytes:
        """Message 1."""
        return self._side.start()

    def offer(self, message: bytes) -> bytes:
        """Message 3. Raises: MalformedError, UnauthorisedError(rule="code_wrong")."""
        return self._side.offer(message)

    def finish(self, message: bytes, folder: Path, unlock: Unlock | None) -> None:
        """Make the vault, or take the certificate into the one that was restored: then `folder` and `unlock` say nothing.

        Raises: MalformedError, UsageError (rule "vault_exists", "link_foreign"), StorageError.
        """
        grant = self._side.finish(message)
        if self._restored is not None:
            _be_certified(self._restored, grant.certificate, grant.welcome, self._seed)
            return
        assert unlock is not None
        certificate = decode_certificate(grant.certificate)
        device = NewDevice(IdentityId(certificate.identity), self._signing, self._seed)
        device.certificate = grant.certificate
        create_linked(folder, unlock, device, grant.welcome)


def _be_certified(store: LocalStore, certificate: bytes, welcome: bytes, seed: Secret) -> None:
    """A restored vault's device is one of its owner's from now on; other channels hear of it from the old one."""
    if f"{OWN_SOURCE}:{decode_certificate(certificate).identity.hex()}" != store.own_key:
        raise UsageError(
            "the other machine is somebody else's: this vault was restored from a backup of another person",
            rule="link_foreign",
            hint="link it to a device of its owner",
        )
    ledger, entry = store.ledger, Device(certificate, sealing.public_of(seed.reveal()))
    commits = open_welcome(welcome, seed.reveal()).commits

    def work(db: apsw.Connection) -> None:
        set_meta(db, "certificate", certificate)
        ledger.entry = entry

    try:
        ledger.run(work)
    except BaseException:
        ledger.entry = Device(b"", entry.sealing)
        raise
    store.ingest(commits)
