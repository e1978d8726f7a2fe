# SPDX-License-Identifier: Apache-2.0
"""Print the numbers of the store against those of glance_store's ``file``.

Usage: ``python -m benchmarks [--size MiB] [--rounds N] [--json FILE]``. Every
ratio is the median over rounds in which both sides ran one after the other.
"""

import argparse
import json

from benchmarks import placement
from benchmarks import transfer


def main() -> None:
    """Run all benchmarks, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=1024, help='MiB')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--json', help='also write the figures here')
    args = parser.parse_args()
    lines = [
        *transfer.measure(args.size << 20, args.rounds),
        *placement.measure(),
    ]
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            json.dump([line._asdict() for line in lines], file, indent=1)
    missed = [line for line in lines if line.met is False]
    print(f'{len(lines)} figures, {len(missed)} targets missed')


if __name__ == '__main__':
    main()
