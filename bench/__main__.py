"""`make bench`: every measurement in turn, each against the least that could do the same in the same run."""

from __future__ import annotations

import subprocess
import sys

PARTS = {
    "The predictor, alone and behind the gateway": "bench.predictor",
    "Import of 1 GiB": "bench.import_copy",
    "From confirmation to answer": "bench.journey",
}

if __name__ == "__main__":
    failed = 0
    for title, module in PARTS.items():
        print(f"\n## {title}\n", flush=True)
        failed += subprocess.run([sys.executable, "-m", module], check=False).returncode != 0
    sys.exit(failed)
