"""How many odd looks make an alarm: the most sensitive rule that keeps the promise on false alarms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from monitor.settings import Alarms

WEEK_S = 7 * 86_400.0
P_FLOOR = 0.01  # no threshold rarer than one in a hundred, however many recordings there are


FEW = 40  # healthy recordings below which separate recordings are also judged together
RUNS = (10, 20)  # how many recordings are judged together
SHARES = (0.08, 0.16, 0.24, 0.31, 0.39, 0.47)  # of healthy recordings that lie above a threshold


class Rule(NamedTuple):
    """`k` of the last `n` with a score of `threshold` or more, which a share `p` of healthy ones reaches."""

    threshold: float
    p: float
    k: int
    n: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes an alarm: `k` of the last `n` looks, `context_s` apart, with a score of `threshold` or more.

    `p` is the share of healthy looks at or above the threshold. `supported` is False where not even k = n keeps
    `expected_per_week`, the false alarms of one microphone, within the budget. `recordings` are further rules whose
    unit is not a look but a recording of its own (a capture session): see `recording_rules`.
    """

    threshold: float
    p: float
    k: int
    n: int
    context_s: float
    expected_per_week: float
    supported: bool
    recordings: tuple[Rule, ...] = ()


def plan(effective_n: int, context_s: float, settings: Alarms, *, p_floor: float = P_FLOOR) -> Plan:
    """The most sensitive rule whose false alarms stay within the budget.

    The threshold is the highest that `effective_n` healthy recordings support without extrapolation:
    p = max(1 / (effective_n + 1), p_floor), threshold = -log10 p. k is the smallest whose expected number of
    false alarms a week is within `settings.false_alarms_per_week` (`expected_false_alarms`).
    Raises ValueError where there is no healthy recording or no context.
    """
    if effective_n < 1 or not context_s > 0:
        raise ValueError(
            f"effective_n is {effective_n} and context_s {context_s}, "
            "allowed are 1 or more and seconds above 0: train anew"
        )
    p = max(1.0 / (effective_n + 1), p_floor)
    n = settings.looks
    expected = [expected_false_alarms(p, k, n, context_s) for k in range(1, n + 1)]
    k = next((k for k, rate in enumerate(expected, 1) if rate <= settings.false_alarms_per_week), n)
    supported = expected[k - 1] <= settings.false_alarms_per_week
    rest = settings.false_alarms_per_week - expected[k - 1] if settings.judge_recordings else 0.0
    rules = recording_rules(effective_n, context_s, rest)
    return Plan(-math.log10(p), p, k, n, context_s, expected[k - 1], supported, rules)


def recording_rules(effective_n: int, context_s: float, budget: float) -> tuple[Rule, ...]:
    """What `budget` false alarms a week allow for runs of separate recordings, where healthy ones are few.

    Few healthy recordings cannot count small p-values, so one look says little; but recordings that were made apart
    are exchangeable with the healthy ones, and many in a row in their upper third say a lot. The looks of one stream
    are not: a machine may run in an odd but healthy state for an hour. So a session counts once, and a live
    stream, which is one session, is never judged this way. A recorder that cuts one stream into files is:
    `judge_recordings = false` switches it off. Every rule gets the same share of the budget.
    """
    if effective_n >= FEW or budget <= 0:
        return ()
    share = budget / (len(RUNS) * len(SHARES))
    found = []
    for n in RUNS:
        for p in sorted({max(p, 1.0 / (effective_n + 1)) for p in SHARES}):
            fits = (k for k in range(math.ceil(p * n) + 1, n + 1) if expected_false_alarms(p, k, n, context_s) <= share)
            k = next(fits, 0)
            if k:
                found.append(Rule(-math.log10(p), p, k, n))
    return tuple(found)


def expected_false_alarms(p: float, k: int, n: int, context_s: float) -> float:
    """How often a week a healthy microphone reaches `k` odd looks among its last `n`, by chance.

    Assumes that looks are independent and odd with probability p (binomial). The last n looks slide: the count
    reaches k exactly when a new look is odd (p), k - 1 of the n - 1 before it are, and the look that leaves is not
    (1 - p): L p (1 - p) C(n-1, k-1) p^(k-1) (1-p)^(n-k) a week, with L = week / context_s looks. For k = n nothing but
    that order is possible, and the formula stays the same. Counting disjoint blocks of n looks instead,
    (L / n) P[Bin(n, p) >= k], gives up to k times too few: runs lie across the blocks' borders.
    """
    looks = WEEK_S / context_s
    return looks * p * (1 - p) * math.comb(n - 1, k - 1) * p ** (k - 1) * (1 - p) ** (n - k)
