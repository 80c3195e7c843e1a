"""How often an address may ask: a bucket per address and kind that fills again with time, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

MOST = 4096  # addresses that are remembered; the one that was quiet for longest goes first


class Limiter:
    """`per_s` requests a second, up to `burst` at once. `now_s` only goes on. 0 a second: no limit."""

    def __init__(self, per_s: float, burst: float, now_s: Callable[[], float]) -> None:
        self._per_s, self._burst, self._now_s = per_s, burst, now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Take one; how many seconds to wait before the next try where there is none left, else 0."""
        if self._per_s <= 0:
            return 0.0
        now_s = self._now_s()
        left, then_s = self._left.pop(address, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        taken = left >= 1.0
        self._left[address] = (left - taken, now_s)
        if len(self._left) > MOST:
            self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - left) / self._per_s
