"""The command: arguments, the stages of a start, exit codes.

Exit codes: 0 stopped when asked; 2 wrong arguments; 65 the package cannot be served (its reason is in the
log); 71 the address cannot be bound.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NoReturn

EXIT_UNUSABLE = 65
EXIT_ADDRESS = 71
_MIB = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Load the package, serve it, and end the process."""
    started = perf_counter()
    # Under -I no PYTHON… variable counts: print() of model code must reach the log at once, and nothing is
    # compiled into folders that are shared and read-only.
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    sys.stderr.reconfigure(errors="replace")
    sys.dont_write_bytecode = True
    options = _options(arguments)
    threads = options.threads or len(os.sched_getaffinity(0))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))  # read by the numeric libraries when they are imported

    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")  # the sandbox allows threads, no further processes

    from .journal import say, say_traceback

    label = f"{options.name} {options.version}".strip()
    say(f"started: {options.engine} model {label}, Python {sys.version.split()[0]}, {threads} thread(s)")
    # Everything of ours is imported before the model's own code, whose folder goes first on sys.path: a
    # module queue.py or selectors.py there must not be found by the libraries of the server.
    try:
        from .application import Application
        from .metrics import Metrics
        from .serving import serve, tcp_socket, unix_socket
        from .workers import Workers
    except ImportError as error:
        say(f"failed: the environment lacks what the predictor needs: {error}")
        _end(EXIT_UNUSABLE)
    served = _load(options, threads, say, say_traceback)
    load_seconds = perf_counter() - started
    code = ", own inference code" if served.package.code else ""
    say(f"loaded {served.package.model_file.name}{code} in {load_seconds * 1000:.0f} ms")

    address = str(options.uds) if options.uds else f"{options.host}:{options.port}"
    try:
        bound = unix_socket(options.uds) if options.uds else tcp_socket(options.host, options.port)
    except OSError as error:
        say(f"failed: cannot listen on {address}: {error}")
        _end(EXIT_ADDRESS)
    if not options.uds:
        address = "{}:{}".format(*bound.getsockname()[:2])
    count = options.workers or (max(1, threads) if served.reentrant else 1)
    # A worker that comes back from native code waits this long for the interpreter when the event loop is
    # busy. The default, 5 ms, is a hundred times the work of a small model.
    sys.setswitchinterval(0.0005)
    application = Application(
        served,
        Metrics(options.name, options.version, options.engine, load_seconds),
        options.limit_bytes,
        lambda: Workers(count, options.queue, options.queue_seconds),
    )
    serve(application, bound, options.grace_seconds, lambda: say(f"ready on {address}"))
    if options.uds:
        options.uds.unlink(missing_ok=True)
    say("stopped")
    _end(0)


def _load(options: argparse.Namespace, threads: int, say, say_traceback):
    from . import served
    from .errors import Unusable
    from .package import read

    try:
        package = read(options.package.resolve(), options.engine)
        return served.load(package, options.name, options.version, threads)
    except Unusable as error:
        say(f"failed: {error}")
    except BaseException as error:  # noqa: BLE001 - foreign code; SystemExit(0) while loading is a failure too
        say_traceback(error)
        say(f"failed: the model does not load: {type(error).__name__}: {error}")
    return _end(EXIT_UNUSABLE)


def _end(code: int) -> NoReturn:
    """Leave without the interpreter's farewells: a thread stuck in model code must not hold the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="predictor", description="Serve one version of one model over HTTP."
    )
    add = parser.add_argument
    add("--package", type=Path, required=True, metavar="DIR", help="the folder that holds model/")
    add("--engine", required=True, choices=("ONNX", "XGBoost", "Scikit_Learn"))
    add("--uds", type=Path, metavar="PATH", help="listen on a Unix socket (mode 0600)")
    add("--host", default="127.0.0.1", help="listen on this address when there is no --uds")
    add("--port", type=_port, default=8080, help="0 takes a free port and logs it")
    add("--name", default="model", help="the model's name under /v2/models/")
    add("--version", default="", help="the version's number")
    add("--limit-bytes", type=_positive, default=12 * _MIB, help="largest request body (12 MiB)")
    add("--threads", type=_natural, default=0, help="threads for one inference; 0 is every processor allowed")
    add(
        "--workers",
        type=_natural,
        default=0,
        help="calls computed at once; 0 is --threads, and 1 for own code",
    )
    add("--queue", type=_natural, default=256, help="calls that may wait for a worker; the next gets 429")
    add("--queue-seconds", type=_positive, default=60, help="a call that waited longer is refused with 503")
    add("--grace-seconds", type=_natural, default=30, help="time for calls in flight after SIGTERM")
    return parser.parse_args(arguments)


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError("must be a port")
    return value
