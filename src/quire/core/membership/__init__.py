"""Who may do what in a channel: a pure function of the set of its control commits (docs/spec/06-membership.md).

`Graph` takes commits as they come; `resolve` a whole set. `Membership` is what they come to.
"""

from quire.core.membership.capabilities import CAPABILITIES, least_role, outranks
from quire.core.membership.certificates import join_message
from quire.core.membership.content import Authority
from quire.core.membership.epochs import Epochs
from quire.core.membership.graph import Graph, graph_of, resolve
from quire.core.membership.model import (
    Change,
    ControlCommit,
    DeviceInfo,
    EpochInfo,
    InviteInfo,
    Member,
    Verdict,
)
from quire.core.membership.state import Membership

__all__ = [
    "CAPABILITIES", "Authority", "Change", "ControlCommit", "DeviceInfo", "EpochInfo", "Epochs", "Graph", "InviteInfo",
    "Member", "Membership", "Verdict", "graph_of", "join_message", "least_role", "outranks", "resolve",
]  # fmt: skip
