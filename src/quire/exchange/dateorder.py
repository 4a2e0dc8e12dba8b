"""Dates of three numbers: `03/04/20` reads two ways, and only the whole file tells which.

A chat runs forward. So each order is tried on all its dates, and the one under which none is impossible and
the fewest run backwards is the file's.
"""

from __future__ import annotations

ORDERS = ("dmy", "mdy", "ymd")  # in the order of how many people write so


class Orders:
    """All orders at once, over all dates of a file."""

    def __init__(self) -> None:
        self._trials = {order: Trial(order) for order in ORDERS}
        self._last = (0, 0, 0)
        self._year_last = False  # does any date not begin with its year?

    def take(self, parts: tuple[int, int, int]) -> None:
        if parts == self._last:
            return
        self._last = parts
        self._year_last = self._year_last or parts[0] <= 31
        for trial in self._trials.values():
            trial.take(parts)

    def best(self, asked: str, american: bool) -> tuple[str, bool]:
        """(the order, is it sure); `asked` for if it is one, and the American one first where clocks say AM and PM."""
        if asked in ORDERS:
            return asked, True
        prefer = ("mdy", "dmy", "ymd") if american else ORDERS
        ranked = sorted(prefer, key=lambda order: self._trials[order].faults)
        # Years of two digits come first so seldom that this reading is no rival where another fits as well.
        rival = next(order for order in ranked[1:] if order != "ymd")
        return ranked[0], not self._year_last or self._trials[ranked[0]].faults < self._trials[rival].faults


class Trial:
    """One order, tried on all dates of a file in turn: how often it fails."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.impossible = self.backwards = 0
        self.last = (0, 0, 0)

    def take(self, parts: tuple[int, int, int]) -> None:
        if parts == self.last:
            return
        year, month, day = date = ordered(parts, self.order)
        if not (1 <= month <= 12 and 1 <= day <= 31) or 100 <= year < 1300:
            self.impossible += 1
        elif date < ordered(self.last, self.order):
            self.backwards += 1
        self.last = parts

    @property
    def faults(self) -> tuple[int, int]:
        return self.impossible, self.backwards


def ordered(parts: tuple[int, int, int], order: str) -> tuple[int, int, int]:
    a, b, c = parts
    if a > 31 or order == "ymd":
        return a, b, c
    return (c, b, a) if order == "dmy" else (c, a, b)
