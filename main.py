"""Weft's command line: run a workflow, check one, list the nodes."""

import logging
import signal
import sys
import threading
from collections.abc import Sequence

from cli.arguments import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the process's exit code."""
    arguments = parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Torch takes seconds to import, so everything that needs it comes after the arguments are read.
    from cli.commands import explain_nodes, run_file, validate_file

    if arguments.nodes is not None:
        return explain_nodes(arguments)
    if arguments.validate is not None:
        return validate_file(arguments, arguments.validate)
    assert arguments.run is not None
    cancel = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: cancel.set())
    return run_file(arguments, arguments.run, cancel)


def entry() -> None:
    """The process's start: a Ctrl-C before there is anything to stop ends it quietly."""
    try:
        code = main()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    entry()
