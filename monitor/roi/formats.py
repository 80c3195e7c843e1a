"""Numbers, money, times and dates as the reader's language writes them."""

from __future__ import annotations

import math
from datetime import date

SYMBOLS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905 - easier to read
)


def money(value: float, currency: str, lang: str) -> str:
    """An amount in whole units: ¥1,200,000 or 1,200,000円."""
    sign = "−" if round(value) < 0 else ""
    digits = f"{abs(value):,.0f}"
    if lang == "ja" and currency == "JPY":
        return f"{sign}{digits}円"
    symbol = SYMBOLS.get(currency)
    return f"{sign}{symbol}{digits}" if symbol else f"{sign}{currency} {digits}"


def short_money(value: float, currency: str, lang: str) -> str:
    """An estimate in few characters, three significant figures: ¥11.8 million, 1,180万円."""
    value = significant(value)
    sign = "−" if value < 0 else ""
    size = abs(value)
    if lang == "ja":
        divisor, unit = (1e8, "億") if size >= 1e8 else (1e4, "万") if size >= 1e5 else (1.0, "")
        digits = f"{size / divisor:,.10g}{unit}"
        return f"{sign}{digits}円" if currency == "JPY" else f"{sign}{digits} {currency}"
    divisor, unit = (1e9, " billion") if size >= 1e9 else (1e6, " million") if size >= 1e6 else (1.0, "")
    symbol = SYMBOLS.get(currency, f"{currency} ")
    return f"{sign}{symbol}{size / divisor:,.10g}{unit}"


def significant(value: float, figures: int = 3) -> float:
    """Rounded to so many significant figures."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, figures - 1 - math.floor(math.log10(abs(value))))


def money_scale(largest: float, currency: str, lang: str) -> tuple[float, str]:
    """For an axis: by what to divide amounts up to `largest`, and what the unit is called."""
    if lang == "ja":
        unit = "円" if currency == "JPY" else f" {currency}"
        return (1e8, f"億{unit}") if largest >= 2e8 else (1e4, f"万{unit}") if largest >= 1e5 else (1.0, unit.strip())
    if largest >= 2e9:
        return 1e9, f"billion {currency}"
    if largest >= 2e6:
        return 1e6, f"million {currency}"
    return (1e3, f"thousand {currency}") if largest >= 2e3 else (1.0, currency)


def percent(value: float) -> str:
    """A share, such as 83%."""
    return f"{100 * value:.0f}%"


def chance(value: float) -> str:
    """A share of draws: simulated certainty is none, so the ends are written as bounds."""
    if value > 0.99:
        return "> 99%"
    return "< 1%" if value < 0.01 else percent(value)


def rate(value: float) -> str:
    """A rate or another small number, with as many digits as it deserves."""
    if value == round(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.0f}"


def about(value: float) -> str:
    """An estimate, rounded up to two figures or a whole number: 1.9, 23."""
    return f"{math.ceil(value * 10 - 1e-9) / 10:g}" if value < 10 else f"{math.ceil(value - 1e-9):,}"


def hours(value: float, lang: str) -> str:
    """A length of time: hours below two days, else days; below an hour minutes, below a minute seconds."""
    if 0 < value < 1:
        seconds = value < 1 / 60
        digits = f"{round(value * (3600 if seconds else 60), 0 if seconds else 1):g}"
        return f"{digits} {'秒' if seconds else '分'}" if lang == "ja" else f"{digits} {'s' if seconds else 'min'}"
    if value < 48:
        digits = f"{round(value, 1):g}"
        return f"{digits} 時間" if lang == "ja" else f"{digits} h"
    digits = f"{round(value / 24, 1):g}"
    return f"{digits} 日" if lang == "ja" else f"{digits} days"


def day(when: date, lang: str) -> str:
    """A date: 21 November 2026, or 2026年11月21日."""
    if lang == "ja":
        return f"{when.year}年{when.month}月{when.day}日"
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}"


def listed(names: list[str], lang: str) -> str:
    """Names in a row."""
    return ("、" if lang == "ja" else ", ").join(names)
