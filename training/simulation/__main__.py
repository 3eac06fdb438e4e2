"""Fill a pool: ``python -m training.simulation INFARCT --data DATA --pool runs/pool``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.progress import track

from engines.segments import Segment
from training.errors import TrainingError
from training.simulation.production import fill_pool, orders


def main() -> int:
    """Read the arguments and fill the pool of each named segment; 1 if a source is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m training.simulation",
        description="Fill the pool of simulated and painted cases of one or more segments.",
    )
    parser.add_argument("segments", nargs="+", choices=[segment.value for segment in Segment])
    parser.add_argument("--data", type=Path, required=True, help="with mri/, synthesis/, dicom/, t2star/")
    parser.add_argument("--pool", type=Path, default=Path("runs/pool"), help="folder to fill: runs/pool")
    parser.add_argument("--workers", type=int, default=1, help="processes that make cases: 1")
    asked = parser.parse_args()
    try:
        for name in asked.segments:
            listed = orders(Segment(name), asked.data, asked.pool)
            missing = sum(not order.path.is_file() for order in listed)
            for _ in track(fill_pool(listed, asked.workers), description=name, total=missing):
                pass
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
