# SPDX-License-Identifier: Apache-2.0
import socket

import pytest

from tmpl_glance_store import exceptions


def test_the_node_is_the_host_unless_set(read, monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'Node-7.Example')
    assert read().node == 'node-7.example'
    assert read(node='Mine').node == 'mine'


def test_the_cluster_is_named_by_the_caller_unless_set(read):
    assert read().cluster == 'tmpl'
    assert read('Fast').cluster == 'fast'
    assert read('fast', cluster='blue').cluster == 'blue'


@pytest.mark.parametrize('option', ['cluster', 'node'])
@pytest.mark.parametrize(
    'value', ['a/b', '..', '-a', 'a b', 'ä', 'a' * 300, 'a%2f']
)
def test_a_name_that_fits_no_url_is_refused(read, option, value):
    with pytest.raises(
        exceptions.BadConfiguration, match=f'tmpl_store_{option}'
    ):
        read(**{option: value})


def test_a_backend_whose_name_is_no_cluster_name_is_refused(read):
    with pytest.raises(
        exceptions.BadConfiguration, match='tmpl_store_cluster'
    ):
        read('fast.ssd')
    assert read('fast.ssd', cluster='fast').cluster == 'fast'


# The others


def test_the_defaults_are_those_of_the_design(read):
    found = read()
    assert (
        found.catalog.url,
        found.placement.name,
        found.placement.copies,
        found.uploads.min_copies,
    ) == ('sqlite:////var/lib/tmpl/catalog.sqlite', 'auto', 3, 1)
    assert (found.locations.directory_mode, found.locations.group) == (
        0o750,
        None,
    )


def test_options_are_read_from_the_file(read):
    found = read(
        catalog='etcd://x',
        placement='all_nodes',
        copies=5,
        min_copies=5,
        write_timeout=7,
        reserve=2.5,
        chunk_size=4096,
    )
    assert (
        found.catalog.url,
        found.placement.name,
        found.placement.copies,
        found.uploads.min_copies,
        found.uploads.write_timeout,
        found.locations.reserve,
        found.uploads.chunk_size,
    ) == ('etcd://x', 'all_nodes', 5, 5, 7, 2.5, 4096)


@pytest.mark.parametrize(
    'options',
    [
        {'copies': 0},
        {'copies': 'many'},
        {'min_copies': 0},
        {'copies': 2, 'min_copies': 3},
        {'write_timeout': 0},
        {'reserve': -1},
        {'reserve': 96},
        {'chunk_size': 0},
        {'chunk_size': (16 << 20) + 1},
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(read, options):
    with pytest.raises(
        exceptions.BadConfiguration, match=f'tmpl_store_{list(options)[-1]}'
    ):
        read(**options)
