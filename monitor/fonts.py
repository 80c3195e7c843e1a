"""Fonts for pictures: Japanese labels only where a font can write them, rather than empty boxes."""

from __future__ import annotations

JAPANESE_FONTS = (
    "Noto Sans CJK JP",
    "IPAexGothic",
    "IPAGothic",
    "TakaoGothic",
    "VL Gothic",
    "Yu Gothic",
    "Hiragino Sans",
)


def japanese_font() -> str | None:
    """An installed font that can write Japanese, if any."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in JAPANESE_FONTS if name in installed), None)
