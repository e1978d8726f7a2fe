# SPDX-License-Identifier: Apache-2.0
"""Base files on hosts that hold no copy."""

import os
import pathlib
from collections.abc import Callable

import pytest

from harness import agents
from harness import host as hosts
from harness.waiting import eventually
from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)


def owned_elsewhere(
    site: Site, tmp_path: pathlib.Path
) -> tuple[agents.Agent, str, str]:
    """Upload an image that falls to another node; start both agents.

    :returns: the other node, the image's id, the template's digest
    """
    # All but all of the hash space is the other node's.
    owner = site.cluster.node(
        'node0', 'ssd:ssd:1000000', tmpl_store_copies=1
    ).start()
    site.agent.start()
    assert eventually(
        lambda: site.cluster.live(site.agent, owner), agents.LONG
    )
    image_id, data = hosts.new_id(), hostile.harmless(tmp_path)
    owner.host.parts().images.add(image_id, [data], len(data), 'sha256')
    digest = hosts.digest_of(data)
    site.cluster.wait_for_holders(digest, 'node0')
    assert not site.agent.host.copies(digest)
    return owner, image_id, digest


def begin_download(site: Site, image_id: str) -> None:
    """Do what Nova does first when it downloads a base file."""
    site.nova.base.mkdir(exist_ok=True)
    site.nova.base_file(image_id).with_suffix('.part').touch()


def test_a_boot_elsewhere_brings_a_copy_into_the_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False, fetch_on_boot=True, settings={'tmpl_store_copies': 1}
    )
    _, image_id, digest = owned_elsewhere(site, tmp_path)
    begin_download(site, image_id)
    assert eventually(lambda: site.agent.host.copies(digest), agents.LONG)
    site.nova.base_file(image_id).with_suffix('.part').unlink()
    site.becomes(image_id, states.PUBLISHED)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0


def test_a_boot_of_novas_own_brings_a_copy_into_the_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False, fetch_on_boot=True, settings={'tmpl_store_copies': 1}
    )
    site.nova.base.mkdir()
    _, image_id, digest = owned_elsewhere(site, tmp_path)
    assert (
        site.nova.clone(image_id, 'vm1', source=tmp_path / '0.qcow2')[
            'downloads'
        ]
        == 1
    )
    assert eventually(lambda: site.agent.host.copies(digest), agents.LONG)
    site.becomes(image_id, states.FOREIGN)


def test_the_original_goes_where_it_is_only_a_cache(
    make_site: Callable[..., Site], tmp_path: pathlib.Path
) -> None:
    site = make_site(
        start=False,
        force_raw=True,
        keep_original=False,
        fetch_on_boot=True,
        touch_interval=1,
        settings={'tmpl_store_copies': 1},
    )
    owner, image_id, digest = owned_elsewhere(site, tmp_path)
    begin_download(site, image_id)
    base = site.nova.base_file(image_id)
    assert eventually(base.exists, agents.LONG), site.agent.log_tail()
    assert eventually(lambda: not site.agent.host.copies(digest), agents.LONG)
    site.cluster.wait_for_holders(digest, 'node0')
    # What is left is looked after, and is what Nova wants.
    os.utime(base, (1, 1))
    assert eventually(lambda: base.stat().st_mtime > 1, agents.LONG)
    base.with_suffix('.part').unlink(missing_ok=True)
    assert site.nova.clone(image_id, 'vm1')['downloads'] == 0
    assert not site.agent.host.copies(digest)
    # The owner's is the durable one, although the same goes for it.
    assert owner.host.copies(digest)
