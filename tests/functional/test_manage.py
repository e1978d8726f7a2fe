# SPDX-License-Identifier: Apache-2.0
"""``tmpl-manage`` as operators run it, beside a real agent."""

import dataclasses
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from harness import host as hosts
from harness.agents import Cluster
from harness.agents import command
from harness.waiting import eventually
from tmpl_glance_store import imagecache
from tmpl_glance_store import objects
from tmpl_glance_store.images import url as image_url

DATA = hosts.content(100_000)
OTHER = hosts.content(50_000, 'other')


@dataclasses.dataclass
class Site:
    """A cluster of one live node and one that is away."""

    cluster: Cluster
    images: list[image_url.ImageUrl]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run tmpl-manage with the configuration of the agent."""
        return run(
            '--config-file', str(self.cluster.agents[0].config), *arguments
        )

    def show(self, *arguments: str) -> Any:
        """Return what a command shows, from its JSON."""
        done = self.run(*arguments, '-f', 'json')
        assert (done.returncode, done.stderr) == (0, '')
        return json.loads(done.stdout)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tmpl-manage."""
    return subprocess.run(
        [command('tmpl-manage'), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
        env={**os.environ, 'COLUMNS': '300', 'PYTHONWARNINGS': 'ignore'},
    )


def release() -> str:
    """Return the version of the installed commands."""
    return run('--version').stdout.split()[-1]


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two templates: one of two images, on n1; one on n1 and n2."""
    with Cluster(tmp_path_factory.mktemp('manage')) as cluster:
        away = cluster.node('n2', 'ssd:disk:30')
        live = cluster.node('n1', 'ssd:disk:10', 'staging:up:5').start()
        cluster.agents.reverse()  # n1 first: its configuration is written
        parts = live.host.parts()
        images = [
            hosts.add(parts, DATA),
            hosts.add(parts, DATA),
            hosts.add(parts, OTHER),
        ]
        there = away.host.parts()
        hosts.remove(there, hosts.add(there, OTHER))
        images.append(hosts.add(there, OTHER))
        assert eventually(lambda: cluster.live(live))
        assert eventually(
            lambda: all(copy.complete for copy in cluster.catalog.copies.all())
        )
        yield Site(cluster, images)


def row_of(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """Return the only row with these values."""
    (row,) = (
        each
        for each in rows
        if all(each[key] == value for key, value in wanted.items())
    )
    return row


# What the commands show


def test_templates_are_listed_with_how_complete_they_are(site: Site) -> None:
    rows = site.show('template', 'list')
    first, _, other, _ = site.images
    assert row_of(rows, Digest=first.digest) == {
        'Digest': first.digest,
        'Size': len(DATA),
        'Format': 'raw',
        'Images': 2,
        'On Targets': 1,
        'Targets': 2,
        'Surplus': 0,
        'State': 'filling',
    }
    assert row_of(rows, Digest=other.digest) == {
        'Digest': other.digest,
        'Size': len(OTHER),
        'Format': 'raw',
        'Images': 2,
        # n2 is away, and what it has is served by nobody.
        'On Targets': 1,
        'Targets': 2,
        'Surplus': 0,
        'State': 'at risk',
    }
    assert len(rows) == 2


def test_a_template_is_shown_by_image_digest_or_its_beginning(
    site: Site,
) -> None:
    image = site.images[0]
    shown = site.show('template', 'show', image.image_id)
    for name in image.digest, image.digest[:12], image.image_id.upper():
        assert site.show('template', 'show', name) == shown
    assert shown['digest'] == image.digest
    assert shown['size'] == len(DATA)
    assert shown['images'] == sorted(each.image_id for each in site.images[:2])
    (copy,) = shown['copies']
    assert (copy['node'], copy['complete']) == ('n1', True)
    assert copy['path'] == str(site.cluster.root / 'n1' / 'disk')
    assert sorted(shown['targets']) == [
        f'{node}:{site.cluster.root}/{node}/disk' for node in ('n1', 'n2')
    ]
    assert shown['fetching'] == []
    assert shown['pinned'] is False
    assert len(shown['sha256']) == 64


def test_the_tokens_of_images_are_never_shown(site: Site) -> None:
    image = site.images[0]
    shown = site.run('template', 'show', image.digest, '-f', 'json').stdout
    assert image.image_id in shown
    assert not [each for each in site.images if each.token in shown]


def test_nodes_are_listed_live_and_away(site: Site) -> None:
    rows = site.show('node', 'list')
    assert row_of(rows, Node='n2') == {
        'Node': 'n2',
        'State': 'away',
        'Placement': 'active',
        'Release': '',
        'API': '',
        'Swarm': '',
        'Locations': 1,
        'Copies': 1,
        'Fetching': 0,
    }
    live = row_of(rows, Node='n1')
    assert (live['State'], live['Release'], live['Locations']) == (
        'live',
        release(),
        2,
    )
    assert live['API'] == site.cluster.agents[0].url


def test_base_files_are_listed_with_the_instances_on_them(
    tmp_path: pathlib.Path,
) -> None:
    instances = tmp_path / 'instances'
    (instances / 'vm1').mkdir(parents=True)
    with Cluster(tmp_path) as cluster:
        live = cluster.node(
            'n1', nova={'instances_path': instances, 'force_raw': False}
        ).start()
        dead = cluster.node('n2').start()
        image = hosts.add(live.host.parts(), DATA)
        base = instances / '_base' / imagecache.base_name(image.image_id)
        assert eventually(base.exists)
        subprocess.run(
            [
                'qemu-img',
                'create',
                '-q',
                '-f',
                'qcow2',
                '-F',
                'raw',
                '-b',
                base,
                instances / 'vm1' / 'disk',
            ],
            check=True,
        )
        site = Site(cluster, [image])
        dead.pause()  # its lease is still there, but it does not answer
        rows = site.show('base', 'list')
        shown = row_of(rows, Node='n1')
        assert (shown['Image'], shown['State'], shown['Instances']) == (
            image.image_id,
            'published',
            ['vm1'],
        )
        unknown = row_of(rows, Node='n2')
        assert (unknown['State'], unknown['Image']) == ('unknown', None)
        assert live.url not in unknown['Reason']
        assert dead.url in unknown['Reason']
        assert site.show('base', 'list', '--node', 'n1') == [shown]
        assert (
            site.show(
                'base', 'list', '--node', 'n1', '--image', hosts.new_id()
            )
            == []
        )
        failed = site.run('base', 'list', '--node', 'n3')
        assert failed.returncode == 1
        assert 'no agent of a node n3 lives' in failed.stderr


def test_locations_are_listed_with_their_copies(site: Site) -> None:
    rows = site.show('location', 'list')
    root = site.cluster.root
    known = {
        each.path: each.id for each in site.cluster.catalog.locations.all()
    }
    assert [
        {
            key: row[key]
            for key in row
            if key not in ('Location', 'Health', 'Reason')
        }
        for row in rows
    ] == [
        {
            'Node': node,
            'Tier': tier,
            'Path': f'{root}/{node}/{path}',
            'Weight GiB': weight,
            'State': 'active',
            'Copies': copies,
            'Bytes': size,
        }
        for node, tier, path, weight, copies, size in (
            ('n1', 'ssd', 'disk', 10.0, 2, len(DATA) + len(OTHER)),
            ('n1', 'staging', 'up', 5.0, 0, 0),
            ('n2', 'ssd', 'disk', 30.0, 1, len(OTHER)),
        )
    ]
    assert {row['Path']: row['Location'] for row in rows} == known


def test_the_layout_shows_the_shares_of_the_hash_space(site: Site) -> None:
    rows = site.show('layout', 'show')
    assert sorted(row['Node'] for row in rows) == ['n1', 'n2']
    assert sum(row['Share %'] for row in rows) == pytest.approx(100, abs=0.1)
    assert row_of(rows, Node='n2')['Share %'] == pytest.approx(75, abs=15)


def test_the_ranges_cover_the_hash_space_without_gaps(site: Site) -> None:
    rows = site.show('layout', 'show', '--ranges')
    after = 0
    for row in rows:
        assert int(row['First'], 16) == after
        after = int(row['Last'], 16) + 1
    assert after == objects.SPACE
    shares = site.show('layout', 'show')
    assert sum(row['Ranges'] for row in shares) == len(rows)


def test_the_layout_shows_where_an_image_or_a_position_falls(
    site: Site,
) -> None:
    image = site.images[0]
    by_image = site.show('layout', 'show', image.image_id)
    position = site.show('template', 'show', image.digest)['position']
    assert by_image == site.show('layout', 'show', image.digest[:20])
    assert by_image == site.show('layout', 'show', f'0x{position}')
    assert [row['Rank'] for row in by_image] == [1, 2]
    (owner,) = (
        row
        for row in site.show('layout', 'show', '--ranges')
        if row['First'] <= position <= row['Last']
    )
    assert by_image[0]['Location'] == owner['Location']


@pytest.mark.parametrize(
    'arguments',
    [
        ('template', 'list'),
        ('node', 'list'),
        ('location', 'list'),
        ('layout', 'show'),
        ('layout', 'show', '--ranges'),
        ('layout', 'show', '0x0'),
    ],
)
def test_every_listing_is_a_table_unless_asked_for_another_form(
    site: Site, arguments: tuple[str, ...]
) -> None:
    table = site.run(*arguments)
    assert (table.returncode, table.stderr) == (0, '')
    assert table.stdout.startswith('+-')
    rows = site.show(*arguments)
    assert isinstance(rows, list)
    assert all(name in table.stdout for name in rows[0])
    values = site.run(*arguments, '-f', 'value').stdout.splitlines()
    assert len(values) == len(rows)


def test_a_command_that_looks_makes_no_catalog(
    tmp_path: pathlib.Path,
) -> None:
    with Cluster(tmp_path) as cluster:
        agent = cluster.node('n1')
        agent.write_config()
        before = sorted(tmp_path.rglob('*'))
        done = run('--config-file', str(agent.config), 'node', 'list')
        assert done.returncode == 1
        assert 'catalog.sqlite is not there yet' in done.stderr
        assert sorted(tmp_path.rglob('*')) == before


def test_a_cluster_without_anything_has_empty_lists(
    tmp_path: pathlib.Path,
) -> None:
    with Cluster(tmp_path) as cluster:
        agent = cluster.node('n1')
        agent.write_config()
        assert cluster.catalog.locations.all() == []
        for what in (
            'template list',
            'node list',
            'location list',
            'layout show',
            'layout show --ranges',
            'layout show 0xff',
        ):
            done = run(
                '--config-file', str(agent.config), *what.split(), '-f', 'json'
            )
            assert (done.returncode, done.stderr) == (0, ''), what
            assert json.loads(done.stdout) == []


def test_the_group_of_a_backend_of_glance_can_be_named(
    site: Site, tmp_path: pathlib.Path
) -> None:
    config = tmp_path / 'glance-api.conf'
    config.write_text(
        site.cluster.agents[0].config.read_text().replace('[tmpl]', '[fast]')
    )
    done = run(
        '--config-file',
        str(config),
        '--group',
        'fast',
        'node',
        'list',
        '-f',
        'json',
    )
    assert done.returncode == 0
    assert [each['Node'] for each in json.loads(done.stdout)] == ['n1', 'n2']


# What the commands change


def test_a_node_is_drained_and_resumed(site: Site) -> None:
    def states(node: str) -> set[str]:
        return {
            row['State']
            for row in site.show('location', 'list')
            if row['Node'] == node
        }

    for _ in range(2):  # it does no harm to say it twice
        rows = site.show('node', 'drain', 'n2')
        assert [(row['Node'], row['State']) for row in rows] == [
            ('n2', 'draining')
        ]
    assert row_of(site.show('node', 'list'), Node='n2')['Placement'] == (
        'draining'
    )  # its agent does not run
    assert (states('n1'), states('n2')) == ({'active'}, {'draining'})
    refused = site.run('node', 'drain', 'n1')
    assert (refused.returncode, refused.stdout) == (1, '')
    assert 'no other node than n1 has an active location' in refused.stderr
    rows = site.show('node', 'resume', 'n2')
    assert [row['State'] for row in rows] == ['active']
    assert states('n2') == {'active'}


def test_a_template_is_pinned_and_unpinned(site: Site) -> None:
    image = site.images[0]
    for verb, pinned in ('pin', True), ('pin', True), ('unpin', False):
        shown = site.show('template', verb, image.image_id)
        assert (shown['digest'], shown['pinned']) == (image.digest, pinned)
        assert site.show('template', 'show', image.digest)['pinned'] is pinned


# Wrong input


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('template', 'show', 'nothing'), 'no image or template nothing'),
        (('template', 'show', 'ff' * 32), 'no image or template ffff'),
        (('node', 'drain', 'n9'), 'no node n9'),
        (('node', 'resume', 'n9'), 'no node n9'),
        (('template', 'pin', 'nothing'), 'no image or template nothing'),
        (('template', 'unpin', 'nothing'), 'no image or template nothing'),
        (('layout', 'show', hosts.new_id()), 'no image or template'),
        (('layout', 'show', '0x1' + '0' * 16), 'more than 64 bits'),
        (('layout', 'show', '0xyz'), '0xyz'),
        (('layout', 'show', '0x'), '0x'),
    ],
)
def test_what_does_not_exist_is_an_error_with_a_message(
    site: Site, arguments: tuple[str, ...], message: str
) -> None:
    done = site.run(*arguments)
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_beginning_that_fits_several_templates_is_refused(
    site: Site,
) -> None:
    done = site.run('template', 'show', '')
    assert (done.returncode, done.stdout) == (1, '')
    assert 'the beginning of 2 digests' in done.stderr


@pytest.mark.parametrize(
    'arguments',
    [
        ('template', 'show'),
        ('template', 'list', 'surplus'),
        ('node', 'drain'),
        ('node', 'resume'),
        ('template', 'pin'),
        ('layout', 'show', '--nonsense'),
        ('node', 'list', '-f', 'nonsense'),
        ('nonsense',),
    ],
)
def test_wrong_arguments_end_with_2(
    site: Site, arguments: tuple[str, ...]
) -> None:
    done = site.run(*arguments)
    assert done.returncode == 2
    # cliff tells of an unknown command on stdout.
    assert done.stdout == '' or arguments == ('nonsense',)
    assert 'tmpl-manage' in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('[tmpl]\n', 'tmpl_store_locations is not set'),
        (
            '[tmpl]\ntmpl_store_locations = ssd:/nowhere\n'
            'tmpl_store_catalog = nonsense://\n',
            "there is no 'nonsense'",
        ),
        (
            '[tmpl]\ntmpl_store_locations = ssd:/nowhere\n'
            'tmpl_store_copies = many\n',
            'tmpl_store_copies',
        ),
        ('nonsense\n', 'nonsense'),
    ],
)
def test_a_wrong_configuration_is_an_error_with_a_message(
    tmp_path: pathlib.Path, text: str, message: str
) -> None:
    config = tmp_path / 'agent.conf'
    config.write_text(text)
    done = run('--config-file', str(config), 'node', 'list')
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_configuration_that_is_not_there_is_an_error(
    tmp_path: pathlib.Path,
) -> None:
    done = run('--config-file', str(tmp_path / 'none.conf'), 'node', 'list')
    assert (done.returncode, done.stdout) == (1, '')
    assert 'none.conf' in done.stderr
    assert 'Traceback' not in done.stderr


def test_an_unreachable_catalog_is_an_error(tmp_path: pathlib.Path) -> None:
    config = tmp_path / 'agent.conf'
    config.write_text(
        '[tmpl]\ntmpl_store_locations = ssd:/nowhere\n'
        'tmpl_store_catalog = etcd+http://127.0.0.1:1\n'
    )
    done = run('--config-file', str(config), 'node', 'list')
    assert (done.returncode, done.stdout) == (1, '')
    assert 'Traceback' not in done.stderr


def test_help_needs_no_configuration(tmp_path: pathlib.Path) -> None:
    done = run('--help')
    assert done.returncode == 0
    for name in (
        'template list',
        'template show',
        'node list',
        'node drain',
        'node resume',
        'template pin',
        'template unpin',
        'location list',
        'layout show',
    ):
        assert name in done.stdout
        assert run('help', *name.split()).returncode == 0
    assert release()[0].isdigit()
