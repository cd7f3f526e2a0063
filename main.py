"""Weft's command line: run a workflow, check one, list the nodes."""

import contextlib
import gc
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from cli.arguments import parse

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the process's exit code."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    from graph.collecting import collection_paused

    # Torch takes seconds to import, so everything that needs it comes after the arguments are read.
    with collection_paused():
        from cli.commands import explain_nodes, run_file, validate_file

    if arguments.nodes is not None:
        return explain_nodes(arguments)
    if arguments.validate is not None:
        return validate_file(arguments, arguments.validate)
    assert arguments.run is not None
    return run_file(arguments, arguments.run, _stop_flag)


def _stop_flag() -> threading.Event:
    """Set from now on by the first Ctrl-C or SIGTERM, to end a run in order; a second ends the process at once."""
    cancel = threading.Event()

    def stop(*_: object) -> None:
        cancel.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    return cancel


def entry() -> None:
    """The process's start, and what ends it early: a Ctrl-C, or nobody left to read what it prints."""
    # A stream that was closed beforehand is None, which nothing that prints expects.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Paths are printed as they are, whether or not their bytes are text.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _end("Stopped.", 130)
    except BrokenPipeError:
        code = _end("", 1)
    except OSError as error:
        code = _end(f"Error: {error}", 1)
    # The system takes the memory back at once; Python would first look through all of it for cycles.
    gc.freeze()
    sys.exit(code)


def _end(message: str, code: int) -> int:
    """Say the last thing there is to say; what is still to be printed goes nowhere, since Python would fail at it."""
    with contextlib.suppress(OSError):
        print(message, end="\n" if message else "", file=sys.stderr, flush=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    return code


if __name__ == "__main__":
    entry()
