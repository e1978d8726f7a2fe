# SPDX-License-Identifier: Apache-2.0
"""What systemd is told."""

import pathlib
import socket

import pytest

from tmpl_glance_store.agent import systemd


@pytest.mark.parametrize('address', ['{}/notify', '@{}'])
def test_systemd_is_told_what_it_wants_to_know(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    address = address.format(tmp_path)[:100]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace('@', '\0', 1))
        manager.settimeout(5)
        monkeypatch.setenv('NOTIFY_SOCKET', address)
        systemd.notify(systemd.READY)
        assert manager.recv(100) == b'READY=1'


def test_without_systemd_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('NOTIFY_SOCKET', raising=False)
    monkeypatch.setattr(
        socket, 'socket', lambda *_: pytest.fail('opened a socket')
    )
    systemd.notify(systemd.ALIVE)


def test_a_systemd_that_is_away_harms_nothing(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv('NOTIFY_SOCKET', f'{tmp_path}/nobody')
    systemd.notify(systemd.STOPPING)
    assert 'systemd is not told STOPPING=1' in caplog.text
