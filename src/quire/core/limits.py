"""Every bound, with its reason. Each has a test that steps over it (tests/core)."""

from __future__ import annotations

# One operation.
BODY_BYTES_MAX = 1 << 20  # a message of 1 MiB: any text a person pastes; larger belongs in a file
OPERATION_BYTES_MAX = BODY_BYTES_MAX + (256 << 10)  # the body and all that may stand beside it
NAME_CHARS_MAX = 256  # channel names, titles, author names: one line on a screen
TOPIC_CHARS_MAX = 4_096  # a topic or a reason: a paragraph
EMOJI_BYTES_MAX = 128  # the longest standard emoji (ZWJ families) is 35 bytes; `:names:` are longer
ATTACHMENTS_MAX = 256  # the most seen in any export is under 100
ATTACHMENT_TEXT_MAX = 4_096  # a file name or a link; browsers stop at 2,083 to 8,000
FILE_BYTES_MAX = 16 << 30  # an attached file: a long film; its outline still fits one frame
PREVIEW_BYTES_MAX = 16 << 10  # a small picture of an attached one: some 320 pixels wide
MENTIONS_MAX = 1_024  # more is @everyone
ORIGIN_CHARS_MAX = 512  # a foreign id; Message-IDs of mail may have 255, Matrix ids 255
ERASED_PER_OPERATION_MAX = 1_024  # one erasure: 80 KB; more are several in one commit
ORIGIN_PEOPLE_MAX = 1 << 20  # people a foreign format only counts, in one reaction

# One commit.
OPERATIONS_PER_COMMIT_MAX = 65_536  # the index in a message id has two bytes
COMMIT_BYTES_MAX = 8 << 20  # a receiver holds one commit in memory; importers cut at 1 MiB
CONTROL_HEADS_MAX = 64  # concurrent control commits an author may name at once
SEQ_MAX = (1 << 32) - 1  # seq in a message id has four bytes: 136 years of one commit a second

# One channel's people and keys.
MEMBERS_MAX = 4_096  # with one device each, a new key sealed to all of them still fits one commit
DEVICES_PER_MEMBER_MAX = 32  # a person's machines over the years; each costs every rotation 1.2 KB
CUTS_MAX = 1_024  # logs of one person: a device has one more for each restored or copied vault
INVITE_USES_MAX = 1 << 20  # a link for more people than a channel can hold is a link for any number
SEALS_PER_OPERATION_MAX = 512  # 600 KB: a larger channel's rotation has several operations

KEPT_MAX = (1 << 43) - 1  # messages or bytes that a policy keeps: 8 TiB is more than a channel comes to

# What travels.
BUNDLE_PLAIN_BYTES_MAX = 16 << 20  # commits of one bundle, held in memory: two of the largest
BUNDLE_BYTES_MAX = 18 << 20  # the same if nothing of it compresses, padded
BUNDLE_COMMITS_MAX = 65_536  # at 250 bytes, the least a commit has, as many as fit
CARD_BYTES_MAX = 64 << 10  # 32 devices of 1.5 KB
REQUEST_BYTES_MAX = 80 << 10  # a card and a name, padded
REFUSAL_BYTES_MAX = 80 << 10  # a card, padded and sealed
REFUSALS_PER_CHANNEL_MAX = 256  # kept to be given, each for one device; the oldest go
INVITE_LINK_CHARS_MAX = 200  # a QR code that a telephone reads from a screen (version 10)
INVITE_NAME_BYTES_MAX = 48  # what such a link leaves for the channel's name

FRAME_BYTES_MAX = 2 << 20  # on a link: a part of a record, or what somebody has of 256 logs
GAPS_PER_LOG_MAX = 256  # in what one side says it has of a log: newest first makes one; more are named as one
CHANNELS_PER_SYNC_MAX = 16_384  # that one side offers: 560 KiB in its first message
LOGS_PER_CHANNEL_MAX = 65_536  # that one side names; a device has one more for each restored vault
NEED_HEIGHTS_MAX = 4_096  # logs that one says it has, when it asks a relay's readers for the rest: 1 MiB
STRETCHES_MAX = 64  # of a relay's mailbox that are noted as unread: one a break; beyond it two become one
PARTS_BYTES_MAX = 2 * BUNDLE_BYTES_MAX  # of records that come in parts, waiting in one mailbox of a relay
CARRIED_PARTS_MAX = 256  # of one self-channel that others carry, which is one record at most

# What is archived.
SEGMENT_BYTES = 32 << 20  # of one file: copied and checked in a second or two; a kill loses no more work
SEGMENT_OPERATIONS = 65_536  # in it: 30 MB of memory while it is made

# Time.
TIME_MS_MAX = (1 << 43) - 1  # year 2248: time, tie-break and sign share 64 bits in the index key
AHEAD_MS_MAX = 10 * 60_000  # a clock this far ahead is believed; beyond it an operation is held

# One vault.
WAITING_PER_DEVICE_MAX = 65_536  # operations of one device that wait for their target or their time
PARKED_PER_DEVICE_MAX = 1_024  # whole commits of one device that wait for a control commit or for their time
PARKED_PER_CHANNEL_MAX = 8_192  # the same, of all devices: who sends them may invent devices
PARKED_BYTES_MAX = 32 << 20  # the same, their bytes: they are in memory together when they are tried again
PAGE_MAX = 1_000  # messages in one page: more is what the iterator is for
QUERY_CHARS_MAX = 1_024  # a search query
QUERY_TERMS_MAX = 64  # terms and filters in it

# One backup.
BACKUP_PACK_PLAIN_BYTES_MAX = 24 << 20  # of one pack, in memory: what fills one and the largest commit
BACKUP_PACK_BYTES_MAX = 28 << 20  # the same if nothing of it compresses, padded
BACKUP_MANIFEST_BYTES_MAX = 32 << 20  # some 500,000 packs and runs of logs in them, a line each
