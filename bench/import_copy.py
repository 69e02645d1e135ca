"""Import of 1 GiB from a local connection against `cp` + `sha256sum` of the same bytes, in one run.

Prints one Markdown row: MB/s of both, their ratio, and the growth of our memory. Rounds are interleaved and
the median counts, because a shared machine is noisy. `cp` does not wait for the disk and we do, so the row
with `sync` is the like-for-like one and the row without it the harder one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to work (default: the temporary folder)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-copy-", dir=options.folder) as folder:
        measure(Path(folder), options.mib, options.rounds)


def measure(folder: Path, mib: int, rounds: int) -> None:
    """Copy `mib` MiB both ways `rounds` times and print the table."""
    os.environ |= {"SLIPWAY_VAR": str(folder / "var"), "DJANGO_SETTINGS_MODULE": "console.settings"}
    from registry import storage
    from registry.sources.objects import ObjectConnection, open_connection

    source = folder / "objects" / "bench" / "package" / "model" / "weights.bin"
    source.parent.mkdir(parents=True)
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "big") + block[8:])
        file.flush()
        os.fsync(file.fileno())
    store = open_connection(ObjectConnection(kind="local", root=folder / "objects"))
    target = folder / "copy.bin"
    ours, plain, synced, growth = [], [], [], 0
    for number in range(rounds):
        begun = time.perf_counter()
        subprocess.run(["cp", source, target], check=True)
        subprocess.run(["sha256sum", target], check=True, stdout=subprocess.DEVNULL)
        plain.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        subprocess.run(["sync", target], check=True)
        synced.append(plain[-1] + time.perf_counter() - begun)
        target.unlink()
        os.sync()

        before = peak_kib()
        begun = time.perf_counter()
        sources = {entry.key.removeprefix("package/"): entry for entry in store.walk("bench", "package/")}
        prefix = f"versions/{number}"
        storage.copy_in(prefix, sources, lambda entry, offset: store.stream("bench", entry, offset))
        ours.append(time.perf_counter() - begun)
        growth = max(growth, peak_kib() - before)
        storage.remove(prefix)
        os.sync()
    size = mib * 1.048576

    def rate(times: list[float]) -> float:
        return size / statistics.median(times)

    print("| import of one file | Slipway MB/s | cp + sha256sum MB/s | ratio | memory growth |")
    print("| --- | --: | --: | --: | --: |")
    for label, times in (
        ("against cp + sync + sha256sum", synced),
        ("against cp + sha256sum, no sync", plain),
    ):
        print(
            f"| {mib} MiB, {label} | {rate(ours):,.0f} | {rate(times):,.0f} "
            f"| {rate(ours) / rate(times):.2f} | {growth / 1024:.0f} MiB |"
        )


def peak_kib() -> int:
    """The most memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
