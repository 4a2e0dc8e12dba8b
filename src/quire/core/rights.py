"""What an author may do with the content of a channel, at the place of a commit: bits of a number.

core/membership says who has which; core/timeline, which an operation needs.
"""

from __future__ import annotations

MAY_POST = 1  # and edit, delete and react
MAY_PIN = 2
MAY_NAME = 4  # name and topic
MAY_MODERATE = 8  # delete what others wrote
MAY_ALL = 15
