# SPDX-License-Identifier: Apache-2.0
"""What one look at the path of a base file shows."""

import os

import pytest

from tests.unit.imagecache.parts import DIGEST
from tests.unit.imagecache.parts import NAME
from tests.unit.imagecache.parts import entry
from tests.unit.imagecache.parts import ledger_of
from tmpl_glance_store import exceptions
from tmpl_glance_store.imagecache import facts
from tmpl_glance_store.imagecache.facts import Facts


def test_a_base_file_has_the_name_that_nova_gives_it():
    assert (
        facts.base_name('155d900f-4e14-4e4c-a73d-069cbf4541e6')
        == 'f2d1a8250ed3d4b744a8250dab8f6840179d502a'
    )


def test_where_nothing_is_there_is_nothing(tmp_path):
    assert facts.look(str(tmp_path / NAME)) == Facts()


def test_a_file_is_ours_if_it_is_that_of_its_entry(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b'x')
    os.utime(path, (7, 7))
    assert facts.look(str(path)) == Facts(taken=True, there=True)
    assert facts.look(str(path), entry(path)) == Facts(
        taken=True, there=True, ours=True, touched_at=7
    )
    assert not facts.look(str(path), entry(path, inode=1)).ours


def test_a_link_of_ours_is_known_also_when_it_leads_nowhere(tmp_path):
    (tmp_path / 'image').write_bytes(b'x')
    hold = ledger_of(tmp_path).hold(str(tmp_path / 'image'), DIGEST)
    path = tmp_path / NAME
    path.symlink_to(hold)
    assert facts.look(str(path)) == Facts(
        taken=True, there=True, leads_to=DIGEST
    )
    os.unlink(hold)
    assert facts.look(str(path), entry(path, target=hold)) == Facts(
        taken=True, ours=True, leads_to=DIGEST
    )


def test_a_link_of_somebody_else_is_only_a_name_that_is_taken(tmp_path):
    (tmp_path / NAME).symlink_to('/nowhere')
    assert facts.look(str(tmp_path / NAME)) == Facts(taken=True)


def test_touching_sets_the_time(tmp_path):
    path = tmp_path / NAME
    path.touch()
    os.utime(path, (1, 1))
    facts.touch(str(path))
    assert path.stat().st_mtime > 1


def test_what_may_not_be_touched_says_what_to_do(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(1, 'not permitted')

    monkeypatch.setattr(os, 'utime', denied)
    with pytest.raises(exceptions.WriteDenied, match='CAP_FOWNER'):
        facts.touch(str(tmp_path / NAME))
