# SPDX-License-Identifier: Apache-2.0
"""Show, on one machine, that templates land where their hash says.

First one node: the real Glance API with the store over several SSD locations,
driven with the real OpenStack client and qemu. Then three nodes, each with a
real agent: with an SSD each, and without. Ends by itself and leaves nothing
behind; the exit code is 0 only if every step held. With KEEP=1 in the
environment the first Glance then stays up for playing, until Ctrl-C; with
CATALOG=etcd the three nodes meet in a real etcd.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tools import cloud
from tools import one_node
from tools import stage
from tools import terminal
from tools import three_nodes

END_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def run(
    steps: dict[str, Callable[[], None]], screen: terminal.Terminal
) -> None:
    """Go through all the steps.

    :raises StepFailed: and other errors, if one does not hold
    """
    for number, (name, step) in enumerate(steps.items(), 1):
        with screen.step(f'{number}/{len(steps)}', name):
            step()


def keep(
    shown: cloud.Cloud, scene: stage.Stage, screen: terminal.Terminal
) -> None:
    """Leave Glance up until Ctrl-C, and say how to use it."""
    screen.title('Glance stays up. In another terminal:')
    for name, value in shown.client_environment().items():
        screen.say(f'export {name}={value}')
    screen.say(f'export PATH={pathlib.Path(sys.executable).parent}:$PATH')
    screen.say(
        f'openstack image create --progress --disk-format qcow2 '
        f'--file {scene.template.path} my-template'
    )
    screen.title('Ctrl-C ends it and removes everything.')
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def explain(error: Exception) -> str:
    """Return what a person needs to know about *error*."""
    if isinstance(error, subprocess.CalledProcessError):
        command = ' '.join(map(str, error.cmd))
        return f'{command}\nexit code {error.returncode}\n{error.output}'
    return f'{type(error).__name__}: {error}'


def interrupt(_signum: int, _frame: types.FrameType | None) -> None:
    """End like on Ctrl-C, but only once: tox passes a second one on."""
    for each in END_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; return the exit code."""
    for each in END_SIGNALS:
        signal.signal(each, interrupt)
    screen = terminal.Terminal()
    if os.environ.get('CATALOG', '') not in ('', *three_nodes.CATALOGS):
        screen.title(
            f'CATALOG is {os.environ["CATALOG"]!r}; use '
            f'{" or ".join(three_nodes.CATALOGS)}.'
        )
        return 2
    # /var/tmp is on a disk where /tmp may be a small one in memory.
    with (
        tempfile.TemporaryDirectory(
            prefix='tmpl-demo-', dir=os.environ.get('TMPDIR') or '/var/tmp'
        ) as scratch,
        contextlib.ExitStack() as cleanup,
    ):
        scene = stage.Stage(pathlib.Path(scratch), screen)
        first = one_node.OneNode(scene)
        glance = first.cloud.server
        cleanup.callback(glance.kill)
        clusters = [
            cleanup.enter_context(
                three_nodes.ThreeNodes(scene, scene.scratch / tier, tier)
            )
            for tier in ('ssd', 'hdd')
        ]
        try:
            run(
                {
                    'Make a template: GPT, ext4, real files': (
                        scene.make_template
                    ),
                    **first.steps(),
                    **clusters[0].steps(),
                    **clusters[1].steps(),
                },
                screen,
            )
            if os.environ.get('KEEP', '0') not in ('', '0'):
                keep(first.cloud, scene, screen)
            else:
                glance.stop()
        except KeyboardInterrupt:
            screen.title('Interrupted.')
            return 130
        except Exception as error:
            screen.failure(explain(error), glance.log_tail(20))
            return 1
    screen.title('Every step held.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
