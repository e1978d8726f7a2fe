# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of the documentation: ``python doc/diagrams/draw.py``.

Both the source and the pictures are committed, so that the documentation
builds without any tool; a unit test compares them.
"""

import html
import pathlib

PICTURES = pathlib.Path(__file__).parent.parent / 'source' / 'contributor'

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"
     font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="14">
<!-- Drawn by doc/diagrams/draw.py. -->
<title>{title}</title>
<defs>
<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"
        markerHeight="8" orient="auto-start-reverse">
<path d="M0 0 10 5 0 10z" fill="#333"/>
</marker>
</defs>
<rect width="100%" height="100%" fill="#fff"/>
"""
_LINE = 18  # pixels between two lines of text


class Picture:
    """An SVG in the making; all lengths are pixels."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self._parts = [
            _HEAD.format(title=html.escape(title), width=width, height=height)
        ]

    def frame(
        self, x: int, y: int, width: int, height: int, name: str
    ) -> None:
        """Draw a host: what is inside runs there."""
        self._rect(x, y, width, height, '#f4f4f4', '#999', dash='6 4')
        self._text(x + 12, y + 22, [f'*{name}'], 'start')

    def box(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        lines: list[str],
        fill: str = '#e3effa',
    ) -> None:
        """Draw a box; a line that begins with ``*`` is bold."""
        self._rect(x, y, width, height, fill, '#333')
        top = y + height / 2 - (len(lines) - 1) * _LINE / 2 + 5
        self._text(x + width / 2, top, lines, 'middle')

    def arrow(
        self,
        *points: tuple[int, int],
        both: bool = False,
        dashed: bool = False,
    ) -> None:
        """Draw an arrow along *points*."""
        path = ' '.join(f'{x},{y}' for x, y in points)
        start = ' marker-start="url(#tip)"' if both else ''
        dash = ' stroke-dasharray="5 4"' if dashed else ''
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="#333"{dash}'
            f'{start} marker-end="url(#tip)"/>\n'
        )

    def note(self, x: int, y: int, *lines: str) -> None:
        """Write without a box."""
        self._text(x, y, list(lines), 'start')

    def svg(self) -> str:
        """Return the picture."""
        return ''.join(self._parts) + '</svg>\n'

    def _rect(
        self,
        x: int,
        y: int,
        width: int,
        height: int,
        fill: str,
        stroke: str,
        dash: str = '',
    ) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ''
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"'
            f' fill="{fill}" stroke="{stroke}"{dashed}/>\n'
        )

    def _text(self, x: float, y: float, lines: list[str], anchor: str) -> None:
        for number, line in enumerate(lines):
            weight = ' font-weight="bold"' if line.startswith('*') else ''
            self._parts.append(
                f'<text x="{x:g}" y="{y + number * _LINE:g}"'
                f' text-anchor="{anchor}"{weight}>'
                f'{html.escape(line.removeprefix("*"))}</text>\n'
            )


DISK, OTHERS, SHARED = '#fdf1d8', '#e8e8e8', '#e2f3e2'


def system() -> Picture:
    """Draw what runs where, and who talks to whom."""
    draw = Picture('A Glance host and a compute node', 1000, 640)
    draw.box(40, 15, 190, 40, ['openstack image create'], OTHERS)
    draw.box(770, 15, 190, 40, ['nova boot'], OTHERS)

    draw.frame(20, 90, 450, 370, 'Glance host')
    draw.box(40, 150, 190, 64, ['*glance-api', 'driver, images'])
    draw.box(260, 150, 190, 64, ['*tmpl-agent', 'agent'])
    draw.box(100, 350, 290, 84, ['*locations', 'copies, localstore'], DISK)

    draw.frame(530, 90, 450, 370, 'compute node')
    draw.box(550, 150, 190, 64, ['*tmpl-agent', 'agent'])
    draw.box(770, 150, 190, 64, ['*nova-compute', 'libvirt, QEMU'], OTHERS)
    draw.box(590, 350, 150, 84, ['*locations', 'copies, localstore'], DISK)
    draw.box(780, 350, 180, 84, ['*_base', "Nova's image cache"], DISK)

    draw.box(
        20,
        540,
        690,
        76,
        [
            '*catalog: etcd, or SQLite on one machine',
            'templates, images, locations, copies; nodes under leases',
        ],
        SHARED,
    )
    draw.box(790, 550, 190, 56, ['*tmpl-manage', 'cli'])

    draw.arrow((135, 55), (135, 150))
    draw.note(145, 78, 'upload, download')
    draw.arrow((865, 55), (865, 150))
    draw.arrow((140, 214), (140, 350))
    draw.note(150, 270, 'write, prove,', 'place')
    draw.arrow((290, 214), (290, 350))
    draw.note(300, 270, 'observe,', 'plan, act')
    draw.arrow((640, 214), (640, 350))
    draw.note(650, 270, 'observe,', 'plan, act')
    draw.arrow((728, 214), (800, 350))
    draw.note(776, 256, 'imagecache:', 'reflink, link', 'or copy')
    draw.arrow((900, 214), (900, 350))
    draw.note(908, 286, 'clone')
    draw.arrow((450, 196), (550, 196), both=True)
    draw.note(477, 188, 'swarm')
    draw.arrow((210, 150), (210, 132), (600, 132), (600, 150))
    draw.note(330, 125, 'remote reads')
    draw.arrow((60, 214), (60, 540), both=True)
    draw.note(70, 505, 'bind, unbind, ask')
    draw.arrow((425, 214), (425, 540), both=True)
    draw.arrow((566, 214), (566, 540), both=True)
    draw.note(435, 505, 'watch, record,', 'announce')
    draw.arrow((790, 578), (710, 578))
    return draw


def life_of_a_copy() -> Picture:
    """Draw what becomes of a copy on disk and in the catalog."""
    draw = Picture('The life of a copy', 1000, 510)
    draw.box(15, 100, 138, 70, ['*absent', 'no record', 'no copy'], OTHERS)
    draw.box(290, 100, 138, 70, ['*intended', 'incomplete', 'no copy'], DISK)
    draw.box(565, 100, 138, 70, ['*placed', 'incomplete', 'a copy'], SHARED)
    draw.box(847, 100, 138, 70, ['*recorded', 'complete', 'a copy'], SHARED)
    draw.box(290, 270, 138, 70, ['*withdrawn', 'complete', 'no copy'], DISK)
    draw.box(565, 270, 138, 70, ['*found', 'no record', 'a copy'], SHARED)
    draw.box(
        847, 420, 138, 70, ['*quarantined', 'complete', 'set aside'], DISK
    )

    draw.arrow((153, 135), (290, 135))
    draw.note(165, 108, 'stage, prove,', 'intend')
    draw.arrow((428, 135), (565, 135))
    draw.note(452, 126, 'one rename')
    draw.arrow((703, 135), (847, 135))
    draw.note(728, 126, 'bind, adopt')

    draw.arrow((359, 100), (359, 60), (84, 60), (84, 100), dashed=True)
    draw.note(100, 52, 'crash: the next start drops it')
    draw.arrow((634, 100), (634, 28), (54, 28), (54, 100), dashed=True)
    draw.note(100, 20, 'crash: the next start removes it, unless it is bound')

    draw.arrow((880, 170), (880, 290), (703, 290))
    draw.note(728, 282, 'release')
    draw.arrow((703, 322), (918, 322), (918, 170))
    draw.note(728, 314, 'adopt')
    draw.arrow((634, 270), (634, 220), (120, 220), (120, 170))
    draw.note(300, 212, 'withdraw: released, or deleted meanwhile')
    draw.arrow((948, 170), (948, 380), (359, 380), (359, 340))
    draw.note(440, 372, 'collect: no image needs it')
    draw.arrow((290, 305), (86, 305), (86, 170))
    draw.note(180, 297, 'forget')
    draw.arrow((970, 170), (970, 420))
    draw.note(862, 408, 'condemn')
    draw.arrow((847, 455), (50, 455), (50, 170))
    draw.note(180, 447, 'forget')
    return draw


ALL = {'system.svg': system, 'copy.svg': life_of_a_copy}


def main() -> None:
    """Draw all pictures anew."""
    for name, picture in ALL.items():
        (PICTURES / name).write_text(picture().svg(), encoding='utf-8')


if __name__ == '__main__':
    main()
