"""Run every benchmark of this folder, one after the other; each writes its page under docs/benchmarks/."""

import subprocess
import sys
from pathlib import Path

for script in sorted(Path(__file__).parent.glob("bench_*.py")):
    if script.name == "bench_dev_set.py":  # needs recordings that are not part of the project: call it by hand
        continue
    print(f"== {script.name}", flush=True)
    subprocess.run([sys.executable, str(script)], check=True)
