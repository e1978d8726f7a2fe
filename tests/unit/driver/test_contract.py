# SPDX-License-Identifier: Apache-2.0
"""The rest of the contract of glance_store."""

from glance_store import backend as single_backend
from glance_store import capabilities
from glance_store import multi_backend

from harness.host import Host
from harness.host import at
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver
from tmpl_glance_store.options import store as opts


def test_the_store_reads_at_random_writes_and_can_be_reused(
    store: driver.Store,
) -> None:
    masks = capabilities.BitMasks
    assert store.is_capable(
        masks.READ_RANDOM, masks.WRITE_ACCESS, masks.DRIVER_REUSABLE
    )
    for more in (masks.WRITE_OFFSET, masks.WRITE_CHUNK):
        assert not store.is_capable(more)


def test_the_scheme_and_the_prefix_are_those_of_the_urls(
    host: Host, store: driver.Store
) -> None:
    assert store.get_schemes() == ('tmpl',)
    assert store.url_prefix == 'tmpl://test/'
    assert upload(store).startswith(store.url_prefix)
    assert host.store('fast').url_prefix == 'tmpl://test/'


def test_a_url_survives_the_way_to_glance_and_back(
    store: driver.Store,
) -> None:
    url = upload(store)
    assert at(store, url).get_store_uri() == url


def test_glances_own_sample_lists_the_options() -> None:
    names = {option.name for option in opts.STORE_OPTS}
    assert len(names) == len(opts.STORE_OPTS)
    single = dict(single_backend._list_opts())['glance_store']
    assert names <= {option.name for option in single}
    multi = dict(multi_backend._list_config_opts())['tmpl']
    assert names == {option.name for option in multi}
    assert all(option.help for option in multi)
