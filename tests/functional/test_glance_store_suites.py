# SPDX-License-Identifier: Apache-2.0
"""glance_store's own suites, run as they are on this store.

``BaseFunctionalTests`` is its functional suite. ``TestFilerStoreBase`` says
how the file store behaves: its tests run unmodified where they ask for
nothing but URLs of the form ``file:///<directory>/<image id>``, which
:class:`_FileUrl` translates. Where they look into the file store itself there
is a test with the same intent at the end.
"""

import contextlib
import errno
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import fixtures
import glance_store
import pytest
from glance_store import exceptions
from glance_store import location
from glance_store.tests import base as unit_base
from glance_store.tests.functional import base as functional_base
from glance_store.tests.unit import test_filesystem_store_base
from glance_store.tests.unit import test_store_capabilities
from oslo_config import cfg

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tmpl_glance_store import driver
from tmpl_glance_store import exceptions as our_exceptions
from tmpl_glance_store import factory

# Its functional suite


class TestFunctional(functional_base.BaseFunctionalTests):
    """Uses the global configuration, which is put back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Only the look-up of a cloud is skipped: this store needs none.
        with mock.patch.object(functional_base, 'occ'):
            super().__init__('tmpl', *args, **kwargs)

    def setUp(self) -> None:
        conf = functional_base.CONF
        self.addCleanup(conf.clear)
        for name in ('SCHEME_TO_CLS_MAP', 'SCHEME_TO_CLS_BACKEND_MAP'):
            self.useFixture(
                fixtures.MonkeyPatch(f'glance_store.location.{name}', {})
            )
        self.host = Host(self.useFixture(fixtures.TempDir()).path)
        for name, value in self.host.settings.items():
            conf.set_override(name, value, group='glance_store')
        super().setUp()

    def test_the_store_under_test_is_ours(self) -> None:
        assert isinstance(self.store, driver.Store)
        assert glance_store.get_store_from_scheme('tmpl')


# Its unit suites


class _FileUrl(driver.StoreLocation):
    """A URL of the suite's: only the image id in it counts."""

    store: driver.Store
    host: Host

    def parse_uri(self, uri: str) -> None:
        image_id = uri.rpartition('/')[2]
        known = factory.build_catalog(self.host.options)
        digest, token = '0' * 64, '0' * 32
        with contextlib.suppress(our_exceptions.NotFound):
            token = hosts.give_token(known, image_id)
            digest = known.bindings.image(image_id).digest
        super().parse_uri(
            f'{self.store.url_prefix}{image_id}/{digest}/{token}'
        )


class _FileStoreSuite(
    test_filesystem_store_base.TestFilerStoreBase,
    test_store_capabilities.TestStoreCapabilitiesChecking,
):
    """The tests that hold for any store on a disk, with this store.

    :cvar backend: in which group the options are
    """

    hash_algo = 'sha256'
    backend: str
    multistore: bool

    def make_store(self) -> None:
        """Put this store where the suite expects the file store."""
        self.host = Host(self.test_dir, tmpl_store_chunk_size=10)
        self.store = driver.Store(
            self.conf, backend=self.backend if self.multistore else None
        )
        for name, value in self.host.settings.items():
            self.conf.set_override(name, value, group=self.backend)
        self.store.configure()
        self.store.store_location_class = type(
            'FileUrl', (_FileUrl,), {'store': self.store, 'host': self.host}
        )

    def config(self, **options: Any) -> None:
        """Take the suite's options; those of the file store are ours here."""
        super().config(
            **{
                name.replace(
                    'filesystem_store_chunk', 'tmpl_store_chunk'
                ): value
                for name, value in options.items()
            }
        )

    def test_get(self) -> None:
        self._test_get()

    def test_get_random_access(self) -> None:
        self._test_get_random_access()

    def test_get_non_existing(self) -> None:
        self._test_get_non_existing()

    def test_add_image_exceeding_max_size_raises_exception(self) -> None:
        self._test_add_image_exceeding_max_size_raises_exception()
        assert self.host.is_clean()

    def test_write_less_than_declared_raises_exception(self) -> None:
        self._test_write_less_than_declared_raises_exception()
        assert self.host.is_clean()

    def test_add_with_verifier(self) -> None:
        self._test_add_with_verifier()

    def test_add_already_existing(self) -> None:
        self._test_add_already_existing()

    def test_add_cleanup_on_read_failure(self) -> None:
        self._test_add_cleanup_on_read_failure()
        assert self.host.is_clean()

    def test_delete(self) -> None:
        self._test_delete()
        assert self.host.is_clean()

    def test_delete_non_existing(self) -> None:
        self._test_delete_non_existing()

    def test_delete_forbidden(self) -> None:
        self._test_delete_forbidden()


class TestSingleStore(_FileStoreSuite, unit_base.StoreBaseTest):
    _CONF = cfg.ConfigOpts()
    backend = 'glance_store'
    multistore = False

    def setUp(self) -> None:
        super().setUp()
        self.make_store()
        self.register_store_schemes(self.store, 'tmpl')
        location.SCHEME_TO_CLS_MAP['file'] = location.SCHEME_TO_CLS_MAP['tmpl']


class TestMultiStore(_FileStoreSuite, unit_base.MultiStoreBaseTest):
    _CONF = cfg.ConfigOpts()
    backend = 'file1'
    multistore = True

    def setUp(self) -> None:
        super().setUp()
        self.conf = self._CONF
        self.conf(args=[])
        self.addCleanup(self.conf.reset)
        self.test_dir = self.useFixture(fixtures.TempDir()).path
        self.useFixture(
            fixtures.MonkeyPatch(
                'glance_store.location.SCHEME_TO_CLS_BACKEND_MAP', {}
            )
        )
        self.make_store()
        self.register_store_backend_schemes(self.store, 'tmpl', 'file1')
        location.SCHEME_TO_CLS_BACKEND_MAP['file'] = (
            location.SCHEME_TO_CLS_BACKEND_MAP['tmpl']
        )

    def test_get_non_existing_identifier(self) -> None:
        self.assertRaises(
            exceptions.UnknownScheme,
            location.get_location_from_uri_and_backend,
            f'file:///{self.test_dir}/non-existing',
            'file3',
            conf=self.conf,
        )


# What the suite does by looking into the file store


DATA = hosts.content(300_000)


@pytest.mark.parametrize('backend', [None, 'fast'])
def test_the_wrong_size_moves_the_stream_exactly_as_with_the_file_store(
    host: Host, backend: str | None
) -> None:
    store = host.store(backend)
    for size in (1, store.WRITE_CHUNKSIZE, store.WRITE_CHUNKSIZE + 1):
        stream = io.BytesIO(DATA)
        with pytest.raises(exceptions.Invalid):
            store.add(hosts.new_id(), stream, size, 'sha256')
        chunks = size // store.WRITE_CHUNKSIZE + 1
        assert stream.tell() == min(chunks * store.WRITE_CHUNKSIZE, len(DATA))
    assert host.is_clean()


class Failing:
    """Lets the nth call of a system call fail; counts the calls."""

    def __init__(self, name: str, nth: int, error: int) -> None:
        self._real: Callable[..., Any] = getattr(os, name)
        self._nth = nth
        self._error = error
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self._nth:
            raise OSError(self._error, os.strerror(self._error))
        return self._real(*args, **kwargs)


#: What add() changes the disk with, besides pwrite().
SYSCALLS = ('mkdir', 'ftruncate', 'fchmod', 'fsync', 'rename')

RAISED = {
    errno.ENOSPC: exceptions.StorageFull,
    errno.EDQUOT: exceptions.StorageFull,
    errno.EFBIG: exceptions.StorageFull,
    errno.EACCES: exceptions.StorageWriteDenied,
    errno.EROFS: exceptions.StorageWriteDenied,
    errno.EIO: OSError,
}


def failures(
    store: driver.Store, syscall: str, error: int
) -> Iterator[tuple[int, BaseException | None]]:
    """Add once for each call of *syscall*, which fails; yield what happens.

    Ends when add() makes no more such calls.
    """
    for nth in range(1, 100):
        failing = Failing(syscall, nth, error)
        outcome, image_id = None, f'image-{nth}'
        with mock.patch.object(os, syscall, failing):
            try:
                url = store.add(image_id, io.BytesIO(DATA), 0, 'sha256')[0]
            except Exception as exc:
                outcome = exc
        if outcome is None:
            assert download(store, url) == DATA
            store.delete(at(store, url))
        if failing.calls < nth:
            return
        yield nth, outcome
        # The same image can be uploaded again.
        url = store.add(image_id, io.BytesIO(DATA), 0, 'sha256')[0]
        assert download(store, url) == DATA
        store.delete(at(store, url))


CASES = [
    *(('pwrite', error, 'fast') for error in RAISED),
    *(('pwrite', error, None) for error in RAISED),
    *(
        (syscall, error, None)
        for syscall in SYSCALLS
        for error in (errno.ENOSPC, errno.EROFS, errno.EIO)
    ),
]


def name_of(part: Any) -> str:
    """Return how a test's id shows an error."""
    return errno.errorcode.get(part, str(part))


@pytest.mark.parametrize(('syscall', 'error', 'backend'), CASES, ids=name_of)
def test_a_write_that_fails_anywhere_leaves_nothing(
    tmp_path: pathlib.Path, syscall: str, error: int, backend: str | None
) -> None:
    host = Host(tmp_path, 'ssd:a:1')
    outcomes = {}
    for nth, outcome in failures(host.store(backend), syscall, error):
        outcomes[nth] = outcome
        assert isinstance(outcome, RAISED[error] | None), (nth, outcome)
        assert host.is_clean(), f'after call {nth}: {outcome!r}'
    assert any(outcomes.values())


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EIO], ids=name_of)
@pytest.mark.parametrize('syscall', SYSCALLS)
def test_a_move_that_fails_anywhere_leaves_nothing(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    syscall: str,
    error: int,
) -> None:
    host = Host(tmp_path, 'staging:s:1', 'ssd:a:1')
    # As if each were on a disk of its own.
    monkeypatch.setattr(
        'tmpl_glance_store.localstore.staging.Staged.move_by_rename',
        lambda self, where: False,
    )
    outcomes = {}
    for nth, outcome in failures(host.store(), syscall, error):
        outcomes[nth] = outcome
        assert isinstance(outcome, RAISED[error] | None), (nth, outcome)
        assert host.is_clean(), f'after call {nth}: {outcome!r}'
    assert any(outcomes.values())


@pytest.mark.parametrize('backend', [None, 'fast'])
@pytest.mark.parametrize(
    'error', [errno.EACCES, errno.EPERM, errno.EROFS], ids=name_of
)
@pytest.mark.parametrize('syscall', ['unlink', 'rename'])
def test_a_delete_that_is_denied_is_forbidden_and_the_image_stays(
    host: Host, syscall: str, error: int, backend: str | None
) -> None:
    store = host.store(backend)
    url = store.add(hosts.new_id(), io.BytesIO(DATA), len(DATA), 'sha256')[0]
    with mock.patch.object(os, syscall, Failing(syscall, 1, error)):
        with pytest.raises(exceptions.Forbidden):
            store.delete(at(store, url))
        assert download(store, url) == DATA
    assert len(host.copies()) == 1
    store.delete(at(store, url))
    assert host.copies() == []
    assert host.records('images') == {}
