"""Removing folders that foreign code could write to."""

from __future__ import annotations

import os
from pathlib import Path


def remove(folder: Path) -> None:
    """Remove `folder` and all below it; fine when it is missing. Links are removed, never followed.

    Safe against what a model may have made there: folders without permissions, and nesting deeper than
    Python's recursion or the longest path allow, because every folder is first moved up to the top.
    Nobody may write below `folder` meanwhile. Raises OSError when something cannot be removed.
    """
    if not os.path.lexists(folder):
        return
    waiting, moved = [], 0
    os.chmod(folder, 0o700)
    current = folder
    while True:
        with os.scandir(current) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, 0o700)  # a folder that cannot be written cannot be moved either
                    moved += 1
                    if current != folder:
                        os.rename(entry.path, folder / f".removed-{os.getpid()}-{moved}")
                        waiting.append(folder / f".removed-{os.getpid()}-{moved}")
                    else:
                        waiting.append(Path(entry.path))
                else:
                    os.unlink(entry.path)
        if current != folder:
            os.rmdir(current)
        if not waiting:
            break
        current = waiting.pop()
    os.rmdir(folder)
