"""`python -m benchmarks [ROW ...]`: measure Weft beside its peers, print every figure beside the one to reach."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.contestants import installed
from benchmarks.machine import ceilings, processor
from benchmarks.options import Options, default_cache
from benchmarks.plots import draw
from benchmarks.report import machine_table, page, table
from benchmarks.results import Record, Row
from benchmarks.rows import ROWS, measure_row

SUBJECTS = ("weft", "diffusers", "openvino", "server")
QUICK_STEPS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says. 0: everything measured is reached; 1: something is missed or failed."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        for name, measure in ROWS.items():
            print(f"{name:<16} {(sys.modules[measure.__module__].__doc__ or '').splitlines()[0]}")
        return 0
    if given.report or given.plot:
        return _report(parser, given)
    unknown = [name for name in given.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row is called {unknown[0]!r}: choose from {', '.join(ROWS)}")
    if given.checkpoint is not None and not given.checkpoint.is_file():
        parser.error(f"argument --checkpoint: there is no file {str(given.checkpoint)!r}")
    if not given.peers_python.is_file():
        parser.error(f"argument --peers-python: there is no file {str(given.peers_python)!r}")
    kept = _kept(parser, given.json)
    return _measure(_options(given), given.rows or list(ROWS), given.json, kept)


def _kept(parser: argparse.ArgumentParser, file: Path | None) -> tuple[Row, ...]:
    """The rows of the record in `file`, which can be written to: a row takes minutes to measure."""
    if file is None:
        return ()
    if not file.absolute().parent.is_dir():
        parser.error(f"argument --json: there is no folder {str(file.absolute().parent)!r}")
    try:
        return Record.read(file).rows if file.exists() else ()
    except (OSError, ValueError) as error:
        parser.error(f"argument --json: {error}")


def _measure(options: Options, names: Sequence[str], file: Path | None, kept: tuple[Row, ...]) -> int:
    """Measure rows one by one; what is known is written after each, so that a run cut short loses one row only."""
    print("The machine", file=sys.stderr)
    machine = {**processor(), **ceilings(0.1 if options.quick else 1.0)}
    record = Record(machine, _versions(options), _settings(options), kept)
    print(machine_table(record), end="\n\n", flush=True)
    good = True
    for name in names:
        print(name, file=sys.stderr, flush=True)
        try:
            row = measure_row(name, options)
        except Exception as error:  # a row that can't be measured must not cost the others
            row = Row(name, f"{name}: could not be measured", notes=(f"{type(error).__name__}: {error}",))
            good = False
        record = record.with_row(row)
        print(table(row), end="\n\n", flush=True)
        good = good and all(demand.verdict != "MISSED" for demand in row.demands)
        if file:
            record.save(file)
    return 0 if good else 1


def _report(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """Print the page, or draw the plots, from records made before."""
    try:
        records = [Record.read(path) for path in given.report or [given.plot]]
        if given.report:
            print(page(records), end="")
        else:
            for path in draw(records[0], given.images):
                print(path)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


def _versions(options: Options) -> dict[str, str]:
    peers = {name: installed(options.peers_python, name) for name in ("diffusers", "openvino")}
    return {
        "torch": version("torch"),
        **{name: found for name, found in peers.items() if found},
        "Python": platform.python_version(),
    }


def _settings(options: Options) -> dict[str, object]:
    return {
        "steps": options.steps,
        "rounds": options.rounds,
        "sizes": list(options.sizes),
        "quick": options.quick,
    }


def _options(given: argparse.Namespace) -> Options:
    quick = given.quick
    return Options(
        steps=given.steps or (QUICK_STEPS if quick else Options.steps),
        rounds=given.rounds or (1 if quick else Options.rounds),
        sizes=tuple(given.size) or ((256,) if quick else Options.sizes),
        quick=quick,
        checkpoint=given.checkpoint,
        tiny=given.tiny or Options.tiny,
        subjects=tuple(given.subject),
        peers_python=given.peers_python,
        peer_url=given.peer_url,
        peer_pid=given.peer_pid,
        cache=given.cache,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="All rows with all peers take about 100 minutes on two cores (60 without a server, 75 with --rounds 1), "
        "--quick about 10. The parts have options of their own: python -m benchmarks.attention, benchmarks.graph.",
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which rows to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record; rows already there stay")
    parser.add_argument(
        "--report",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="print docs/performance.md from records, measure nothing",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the plots of a record, measure nothing"
    )
    parser.add_argument(
        "--images", type=Path, default=Path("docs/images"), help="where plots go (docs/images)"
    )
    _add_amounts(parser)
    _add_subjects(parser)
    return parser


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how much")
    group.add_argument("--steps", type=_positive, metavar="N", help="sampling steps (20)")
    group.add_argument(
        "--rounds", type=_positive, metavar="N", help="runs of each subject, after a warm-up (3)"
    )
    group.add_argument(
        "--size",
        type=_multiple_of_64,
        action="append",
        default=[],
        metavar="N",
        help="of pictures (256, 512)",
    )
    group.add_argument(
        "--quick", action="store_true", help="a little of everything: 4 steps, one round, 256x256"
    )


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what takes part")
    group.add_argument("--subject", choices=SUBJECTS, action="append", default=[], help="only these; repeat")
    group.add_argument(
        "--peers-python",
        type=Path,
        default=Path(sys.executable),
        metavar="PATH",
        help="that has the peers installed",
    )
    group.add_argument("--peer-url", metavar="URL", help="a running server that speaks the queue API")
    group.add_argument("--peer-pid", type=int, metavar="PID", help="its process, to read its memory")
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="full size (default: seeded weights)")
    group.add_argument(
        "--tiny", type=Path, metavar="FILE", help="in place of models/checkpoints/weft-tiny.safetensors"
    )
    group.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="for converted networks, some 20 GB",
    )


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return value


def _multiple_of_64(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 64 or value % 64:
        raise argparse.ArgumentTypeError(f"{text} is not a multiple of 64")
    return value


if __name__ == "__main__":
    sys.exit(main())
