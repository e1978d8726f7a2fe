# SPDX-License-Identifier: Apache-2.0
"""Base files whose bytes have changed."""

import os
import pathlib
from collections.abc import Callable

import pytest

from tests.functional import hostile
from tests.functional.imagecache.site import Site
from tmpl_glance_store.imagecache import states

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason='only root can mount disks and change owners'
)

MIB = 1 << 20


@pytest.mark.parametrize('publish', ['copy', 'hardlink'])
def test_a_damaged_base_file_is_reported_with_its_instances(
    make_site: Callable[..., Site], tmp_path: pathlib.Path, publish: str
) -> None:
    site = make_site(
        force_raw=True,
        publish=publish,
        settings={
            'tmpl_store_scrub_period': 1,
            'tmpl_store_scrub_rate': 200 * MIB,
        },
    )
    image_id = site.publish(hostile.harmless(tmp_path))
    site.nova.clone(image_id, 'vm1')
    base = site.nova.base_file(image_id)
    base.chmod(0o644)
    with base.open('r+b') as file:
        file.seek(MIB)
        file.write(b'rotten')
    state = site.becomes(image_id, states.DAMAGED)
    assert state['instances'] == ['vm1']
    assert base.exists()
    base.read_bytes().index(b'rotten')
