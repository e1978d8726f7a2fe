# SPDX-License-Identifier: Apache-2.0
"""A host with disks, as its operator and glance_store see it.

:class:`Host` is cheap and describes itself as JSON, so that a child process
builds the same one.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from glance_store import location as glance_location
from oslo_config import cfg

from tmpl_glance_store import driver
from tmpl_glance_store import factory
from tmpl_glance_store import merkle
from tmpl_glance_store import objects
from tmpl_glance_store.catalog import catalog
from tmpl_glance_store.images import url as image_url
from tmpl_glance_store.localstore import copy as copy_files
from tmpl_glance_store.options import plugins
from tmpl_glance_store.options import store as opts

CLUSTER = 'test'


class Host:
    """A node, with its catalog and its locations below *root*.

    :param locations: as in the configuration, but with paths that are
        relative to *root*; three SSDs unless given
    :param settings: more options, as in the configuration
    """

    def __init__(
        self, root: pathlib.Path | str, *locations: str, **settings: Any
    ) -> None:
        self.root = pathlib.Path(root)
        tiers_and_paths = [
            text.split(':', 1)
            for text in (locations or ('ssd:a:100', 'ssd:b:100', 'ssd:c:100'))
        ]
        self.catalog_url = f'sqlite:///{self.root}/catalog.sqlite'
        self.settings = {
            'tmpl_store_cluster': CLUSTER,
            'tmpl_store_node': 'node1',
            'tmpl_store_catalog': self.catalog_url,
            'tmpl_store_locations': [
                f'{tier}:{self.root}/{rest}' for tier, rest in tiers_and_paths
            ],
            # Whoever runs the tests may have a disk that is rather full.
            'tmpl_store_reserve': 0.0,
            **settings,
        }
        self.paths = [
            self.root / rest.split(':')[0] for _, rest in tiers_and_paths
        ]

    def to_json(self) -> str:
        """Return what :meth:`from_json` builds the same host from."""
        return json.dumps({'root': str(self.root), **self.settings})

    @classmethod
    def from_json(cls, text: str) -> 'Host':
        """Return the host in *text*."""
        fields = json.loads(text)
        root = fields.pop('root')
        return cls(
            root,
            *(
                text.replace(f'{root}/', '', 1)
                for text in fields.pop('tmpl_store_locations')
            ),
            **fields,
        )

    # What is built from the options

    @property
    def options(self) -> opts.Options:
        """The checked options."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        conf.register_opts(opts.STORE_OPTS, group='tmpl')
        for name, value in self.settings.items():
            conf.set_override(name, value, group='tmpl')
        return opts.read(plugins.group_of(conf, 'tmpl'))

    def parts(
        self, on_step: Callable[[str], None] = lambda step: None
    ) -> factory.Parts:
        """Return what a process of the host has after a start of Glance."""
        parts = factory.Parts(self.options, on_step)
        parts.images.open()
        return parts

    def store(self, backend: str | None = None) -> driver.Store:
        """Return the configured store, with a configuration of its own."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[])
        store = driver.Store(conf, backend=backend)
        for name, value in self.settings.items():
            conf.set_override(name, value, group=backend or 'glance_store')
        store.configure()
        return store

    # What lies on the disks

    def copies(self, digest: str = '*') -> list[pathlib.Path]:
        """Return the directories of a template's copies, or of all."""
        return self._all(f'templates/??/{digest}')

    def unfinished(self) -> list[pathlib.Path]:
        """Return what uploads have not finished, or have left behind."""
        return self._all('incoming/*')

    def quarantined(self) -> list[pathlib.Path]:
        """Return the copies that failed their proof."""
        return self._all('quarantine/*')

    def _all(self, pattern: str) -> list[pathlib.Path]:
        return [found for path in self.paths for found in path.glob(pattern)]

    # What the catalog knows

    def records(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the catalog's records of a kind, by the rest of the key."""
        return self._known(kind)[0]

    def _known(self, *kinds: str) -> list[dict[str, dict[str, Any]]]:
        root = f'/tmpl/{self.options.cluster}/v2/'
        store = factory.build_catalog_store(self.catalog_url)
        try:
            found = []
            for kind in kinds:
                prefix = f'{root}{"" if kind == "images" else "state/"}{kind}/'
                found.append(
                    {
                        entry.key.removeprefix(prefix): json.loads(entry.value)
                        for entry in store.list(prefix)
                    }
                )
            return found
        finally:
            store.close()

    def is_clean(self) -> bool:
        """Whether there is no trace of any image, nor of an upload."""
        return not [
            *self.copies(),
            *self.unfinished(),
            *self.quarantined(),
            *filter(
                None,
                self._known(
                    'images',
                    'templates',
                    'heads',
                    'claims',
                    'deletions',
                    'copies',
                ),
            ),
        ]

    def disagreements(self) -> list[str]:
        """Return in what the disks and the catalog differ, both ways.

        Every byte on the disks is proved. Nothing may be under way, and no
        image may have lost its copies.
        """
        copies, *facts = self._known(
            'copies', 'templates', 'images', 'claims', 'heads', 'deletions'
        )
        on_disk = {
            f'{self.location_id(path.parents[2])}/{path.name}': path
            for path in self.copies()
        }
        return [
            *(f'debris {path}' for path in self.unfinished()),
            *(f'on disk only: {key}' for key in on_disk.keys() - copies),
            *(f'recorded only: {key}' for key in copies.keys() - on_disk),
            *(
                f'not complete: {key}'
                for key, copy in copies.items()
                if not copy['complete']
            ),
            *(
                problem
                for path in on_disk.values()
                if (problem := what_is_wrong(path))
            ),
            *self._problems_of_templates(
                {key.rpartition('/')[2] for key in copies}, *facts
            ),
        ]

    @staticmethod
    def _problems_of_templates(
        held: set[str],
        templates: dict[str, Any],
        images: dict[str, Any],
        claims: dict[str, Any],
        heads: dict[str, Any],
        deletions: dict[str, Any],
    ) -> Iterator[str]:
        yield from (
            f'copies without a template: {digest}'
            for digest in held - templates.keys()
        )
        yield from (
            f'template without copies: {digest}'
            for digest in templates.keys() - held
        )
        claimed = set(claims)
        bound = {f'{image["digest"]}/{key}' for key, image in images.items()}
        yield from (
            f'image and claim disagree: {each}' for each in claimed ^ bound
        )
        yield from (
            f'{head["images"]} images, says the head of {digest}'
            for digest, head in heads.items()
            if head['images']
            != sum(each.startswith(digest) for each in claimed)
        )
        yield from (f'deleted, but still there: {each}' for each in deletions)

    @staticmethod
    def location_id(directory: pathlib.Path) -> str:
        """Return the id of the location in a directory."""
        said = json.loads((directory / 'location.json').read_bytes())
        return f'{said["node"]}/{said["id"]}'


def what_is_wrong(copy: pathlib.Path) -> str | None:
    """Return why the directory is not a proven copy; reads every byte."""
    try:
        template = copy_files.read(str(copy))
    except Exception as exc:
        return f'{copy}: {exc}'
    digest = digest_of((copy / 'image').read_bytes())
    if not template.digest == digest == copy.name:
        return f'{copy}: holds {digest}, says {template.digest}'
    return None


def flip_byte(copy: pathlib.Path) -> None:
    """Change a byte in the middle of a copy, as an old disk may."""
    image = copy / 'image'
    mode = image.stat().st_mode
    image.chmod(0o600)
    with image.open('r+b') as file:
        file.seek(image.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
        os.fsync(file.fileno())
    image.chmod(mode)


def digest_of(data: bytes) -> str:
    """Return the digest of *data*."""
    tree = merkle.TreeHasher()
    tree.update(data)
    return merkle.identify(len(data), tree.finish()[0])


def content(size: int, seed: object = 0) -> bytes:
    """Return *size* bytes that depend on nothing but the arguments."""
    return random.Random(str(seed)).randbytes(size)


def spread(host: Host, upload: Callable[[bytes], Any]) -> dict[bytes, Any]:
    """Upload contents until every location of the host has got one more.

    Where one goes depends on the ids of the locations, which are random.
    """
    before = [len(list(path.glob('templates/*/*'))) for path in host.paths]
    uploaded = {}
    for _ in range(500):
        data = content(1000, uuid.uuid4())
        uploaded[data] = upload(data)
        if all(
            len(list(path.glob('templates/*/*'))) > count
            for path, count in zip(host.paths, before, strict=True)
        ):
            return uploaded
    raise AssertionError(f'no location for {len(uploaded)} templates')


def new_id() -> str:
    """Return an id for a new image."""
    return str(uuid.uuid4())


def same_shelf(size: int = 100) -> tuple[bytes, bytes]:
    """Return two contents whose templates lie in the same ``<dd>``."""
    seen: dict[str, bytes] = {}
    for seed in range(1000):
        data = content(size, seed)
        shelf = digest_of(data)[:2]
        if shelf in seen:
            return seen[shelf], data
        seen[shelf] = data
    raise AssertionError('SHA-256 is broken')


# The calls of Glance


def add(
    parts: factory.Parts,
    data: bytes,
    image_id: str | None = None,
    size: int | None = None,
) -> image_url.ImageUrl:
    """Upload *data*, and return where it is."""
    return parts.images.add(
        image_id or new_id(),
        [data],
        len(data) if size is None else size,
        'sha256',
    ).url


def read(parts: factory.Parts, url: image_url.ImageUrl) -> bytes:
    """Return the bytes of an image."""
    with contextlib.closing(
        parts.images.read(url, 0, None, 1 << 20)
    ) as chunks:
        return b''.join(chunks)


def url_of(parts: factory.Parts, image_id: str) -> image_url.ImageUrl:
    """Return a URL of an image that is bound, whose own one is lost."""
    token = give_token(parts.catalog, image_id)
    image = parts.catalog.bindings.image(image_id)
    return image_url.ImageUrl.of(CLUSTER, image, token)


def give_token(known: catalog.Catalog, image_id: str) -> str:
    """Give an image that is bound another token: the catalog knows none.

    :raises NotFound: if it is not bound
    """
    token = objects.new_token()
    image = dataclasses.replace(
        known.bindings.image(image_id), token_hash=objects.hash_token(token)
    )
    assert known.records.store.commit([], [known.records.images.put(image)])
    return token


def remove(parts: factory.Parts, url: image_url.ImageUrl) -> None:
    """Delete an image."""
    parts.images.remove(url)


# The store's calls


def at(store: driver.Store, url: str) -> glance_location.Location:
    """Return *url* as Glance hands it to the store."""
    return glance_location.Location(
        'tmpl',
        driver.StoreLocation,
        store.conf,
        uri=url,
        backend=store.backend_group,
    )


def download(store: driver.Store, url: str, **how: Any) -> bytes:
    """Return the bytes that the store gives for *url*."""
    return b''.join(store.get(at(store, url), **how)[0])
