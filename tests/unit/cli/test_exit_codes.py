# SPDX-License-Identifier: Apache-2.0
"""Exit codes, and what is said of wrong input."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from harness.host import Host
from tmpl_glance_store import factory
from tmpl_glance_store.cmd import manage as command

Manage = Callable[..., tuple[int, str, str]]


@pytest.fixture
def manage(
    host: Host,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Manage:
    """Run a verb; return (exit code, stdout, stderr)."""
    monkeypatch.setenv('COLUMNS', '300')
    # A command makes no catalog.
    factory.build_catalog(host.options).close()
    config = tmp_path / 'tmpl-agent.conf'
    lines = ['[tmpl]']
    for name, value in host.settings.items():
        values = value if isinstance(value, list) else [value]
        lines += [f'{name} = {each}' for each in values]
    config.write_text('\n'.join(lines))

    def manage(*arguments: str) -> tuple[int, str, str]:
        try:
            code = command.main(['--config-file', str(config), *arguments])
        except SystemExit as exc:  # argparse, of wrong arguments
            code = int(exc.code or 0)
        return code, *capsys.readouterr()

    return manage


def shown(manage: Manage, *arguments: str) -> Any:
    code, out, err = manage(*arguments, '-f', 'json')
    assert (code, err) == (0, '')
    return json.loads(out)


@pytest.mark.parametrize('verb', ['show', 'pin', 'unpin'])
def test_a_template_that_is_not_there_is_named(
    manage: Manage, verb: str
) -> None:
    code, out, err = manage('template', verb, 'abc')
    assert (code, out) == (1, '')
    assert 'no image or template abc' in err


@pytest.mark.parametrize('verb', ['drain', 'resume'])
def test_a_node_that_is_not_there_is_named(manage: Manage, verb: str) -> None:
    code, _, err = manage('node', verb, 'nobody')
    assert code == 1
    assert 'nobody' in err


def test_a_position_of_more_than_64_bits_is_refused(manage: Manage) -> None:
    code, _, err = manage('layout', 'show', '0x1' + '0' * 16)
    assert code == 1
    assert 'has more than 64 bits' in err


def test_base_files_are_asked_of_agents_that_live(manage: Manage) -> None:
    assert shown(manage, 'base', 'list') == []
    code, _, err = manage('base', 'list', '--node', 'node1')
    assert code == 1
    assert 'no agent of a node node1 lives' in err


@pytest.mark.parametrize(
    'arguments', [('template', 'show'), ('node', 'drain')]
)
def test_a_missing_argument_exits_with_2(
    manage: Manage, arguments: tuple[str, ...]
) -> None:
    code, _, err = manage(*arguments)
    assert code == 2
    assert 'required' in err


def test_a_wrong_option_is_named(manage: Manage, host: Host) -> None:
    code, _, err = manage('--group', 'no.such', 'node', 'list')
    assert code == 1
    assert 'tmpl_store_' in err
