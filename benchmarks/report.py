# SPDX-License-Identifier: Apache-2.0
"""One line a figure, with its target."""

from typing import NamedTuple


class Figure(NamedTuple):
    """A measured value; *met* is None where there is nothing to meet."""

    name: str
    value: float
    unit: str
    target: str
    met: bool | None


def figure(
    name: str,
    value: float,
    unit: str,
    target: str = '',
    met: bool | None = None,
) -> Figure:
    """Print a figure, and return it."""
    verdict = {True: 'ok', False: 'MISSED', None: ''}[met]
    print(
        f'{name:<52}{value:>10.3f} {unit:<9}{target:<12}{verdict}', flush=True
    )
    return Figure(name, value, unit, target, met)
