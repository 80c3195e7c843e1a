"""The page of a line: server-rendered, in Japanese and English, without the internet, readable without JavaScript.

A table of contents:

- `app`: which address leads where; `serve`: the thread that serves it; `sources`: where it takes from.
- `guard`: names, rates, rights, forged forms, errors; `access`, `sessions`, `limits`: what it judges by.
- `reading`, `writing`, `sounds`, `listening`, `system`, `live`: the handlers; `desk`: what they share.
- `views`, `texts`, `pages`: the board in words; `charts`, `spectrum`: pictures as SVG; `archive`: the data folder.

It shows values that others made and touches nothing of the monitor's, so a slow reader never holds up an alarm.
"""
