# SPDX-License-Identifier: Apache-2.0
"""A power cut at any instant of what the agent does to copies."""

import pathlib

from harness import host as hosts
from harness.host import Host
from tests.durability import rooms
from tmpl_glance_store import factory
from tmpl_glance_store import layout
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import location as local

DATA = hosts.content(3000, 'copy')


def test_what_is_fetched_stays(root: pathlib.Path) -> None:
    host = Host(root, 'ssd:a', 'ssd:b')
    parts, image = with_a_copy(host)
    source, target = two_locations(parts, host)
    template = parts.catalog.bindings.template(image.digest).template
    with rooms.record(host) as seen:
        with target.resume(image.digest) as staged:
            # As libtorrent does: nothing of it is on stable storage.
            path = pathlib.Path(staged.directory, layout.IMAGE)
            path.write_bytes(DATA[:1000])
            path.write_bytes(DATA)
            staged.seal_fetched(template, source.pieces(image.digest))
            assert parts.keeper.arrived(staged, template, target)
        seen.promise(rooms.Held(image.digest, pathlib.Path(target.paths.root)))
    rooms.examine(host, seen, besides=layout.FETCH)


def test_what_is_moved_to_another_disk_stays(root: pathlib.Path) -> None:
    host = Host(root, 'ssd:a', 'ssd:b')
    parts, image = with_a_copy(host)
    source, target = two_locations(parts, host)
    template = parts.catalog.bindings.template(image.digest).template
    with rooms.record(host) as seen:
        assert parts.keeper.move(template, source, target)
        seen.promise(rooms.Held(image.digest, pathlib.Path(target.paths.root)))
    rooms.examine(host, seen)


def test_what_is_removed_stays_away(root: pathlib.Path) -> None:
    host = Host(root, 'ssd:a')
    parts, image = with_a_copy(host)
    with rooms.record(host) as seen:
        hosts.remove(parts, image)
        seen.promise(rooms.Gone(image.digest))
    rooms.examine(host, seen)


def test_what_is_condemned_stays_away(root: pathlib.Path) -> None:
    host = Host(root, 'ssd:a')
    parts, image = with_a_copy(host)
    rot(pathlib.Path(parts.store.locations[0].paths.image(image.digest)))
    with rooms.record(host) as seen:
        parts.store.locations[0].condemn(image.digest)
        seen.promise(rooms.Gone(image.digest))
    rooms.examine(host, seen, besides=image.digest)


def with_a_copy(host: Host) -> tuple[factory.Parts, image_url.ImageUrl]:
    """Return the repository of a host that has one image."""
    parts = host.parts()
    return parts, hosts.add(parts, DATA)


def two_locations(
    parts: factory.Parts, host: Host
) -> tuple[local.LocalLocation, local.LocalLocation]:
    """Return the location with the copy, and the one without."""
    first, second = parts.store.locations
    [copy] = host.copies()
    return (first, second) if first.holds(copy.name) else (second, first)


def rot(path: pathlib.Path) -> None:
    """Change a byte of a file."""
    path.chmod(0o644)
    path.write_bytes(b'!' + path.read_bytes()[1:])
    path.chmod(0o444)
