"""How long a user waits: `factory-ear --help`, and the whole demo after installation.

    python tests/benchmarks/bench_command.py

writes docs/benchmarks/command.md and command.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks"
ROOT = Path(__file__).parents[2]
HELPS = 11
HELP = [sys.executable, "-c", "import sys; sys.argv = ['factory-ear', '--help']; from monitor.cli import main; main()"]


def seconds(command: list[str]) -> float:
    """How long a command takes as a process of its own."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def demo() -> dict[str, Any]:
    """One run of the demo; its own account, and the time as a process."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "monitor.cli", "demo", "--dir", f"{folder}/demo", "--port", "0", "--json"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return json.loads(done.stdout) | {"wall_s": time.perf_counter() - began}


def page(found: dict[str, Any]) -> str:
    parts = "\n".join(f"| demo: {name} | {value:.0f} s |" for name, value in found["demo_parts_s"].items())
    return f"""# The command: how long a user waits

Written by `python tests/benchmarks/bench_command.py`; do not edit. Python {platform.python_version()}, two cores.

| | |
|---|---:|
| `factory-ear --help`, median of {HELPS} (slowest) | {found["help_s"]:.2f} s ({found["help_slowest_s"]:.2f} s) |
| `factory-ear demo`, as a whole | {found["demo_s"]:.0f} s |
{parts}

Targets: 0.3 s and 180 s.
"""


def main() -> None:
    helps = [seconds(HELP) for _ in range(HELPS)]
    ran = demo()
    found = {
        "help_s": statistics.median(helps),
        "help_slowest_s": max(helps),
        "demo_s": ran["wall_s"],
        "demo_parts_s": ran["seconds"],
        "demo_passed": ran["passed"],
    }
    PAGE.mkdir(parents=True, exist_ok=True)
    (PAGE / "command.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (PAGE / "command.md").write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
