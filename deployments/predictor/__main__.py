"""Start the predictor, by path or by ``-m``.

By path nothing is put on ``sys.path``: neither this folder nor its parent, so a model's own ``import
server`` or ``import schema`` can never find ours. The package is registered as ``slipway_predictor``, so
that even a model's own ``predictor.py`` stays importable.
"""

from __future__ import annotations

import sys


def _package() -> str:
    if __package__:
        return __package__
    import importlib.util
    from pathlib import Path

    name = "slipway_predictor"
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return name


if __name__ == "__main__":
    import importlib

    importlib.import_module(f"{_package()}.cli").main()
