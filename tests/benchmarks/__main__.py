"""Run every benchmark of this folder, one after the other; each writes its page under docs/benchmarks/."""

import subprocess
import sys
from pathlib import Path

BY_HAND = {"bench_dev_set.py", "bench_does_it_pay.py", "bench_peers.py"}  # recordings that are not part of the project

for script in sorted(Path(__file__).parent.glob("bench_*.py")):
    if script.name in BY_HAND:
        continue
    print(f"== {script.name}", flush=True)
    subprocess.run([sys.executable, str(script)], check=True)
