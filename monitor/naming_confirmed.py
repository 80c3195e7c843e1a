"""What staff have confirmed on the page with a name, from the alarms' file. Imports no torch: the monitor asks it."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path


def confirmed_clips(alarms: Path, marks: Collection[str]) -> list[tuple[str, str]]:
    """What staff confirmed with a name: fault and clip, newest first; of microphones with these marks (clip ids' ends).

    Nothing where there is no such file yet.
    """
    query = (
        "SELECT judgements.fault, clips.clip_id FROM judgements JOIN clips USING (alert_id) "
        "WHERE verdict = 'confirmed' AND fault != '' AND outcome = 'written' ORDER BY at_ns DESC LIMIT 200"
    )
    try:
        db = sqlite3.connect(f"file:{alarms}?mode=ro", uri=True, timeout=5.0)
        try:
            rows = [(str(fault), str(clip)) for fault, clip in db.execute(query)]
        finally:
            db.close()
    except sqlite3.Error:
        return []
    return [row for row in rows if row[1].rpartition("-")[2] in marks]
