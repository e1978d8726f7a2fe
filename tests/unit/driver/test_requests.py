# SPDX-License-Identifier: Apache-2.0
"""What is asked for and does not exist, or may not be had."""

import io
from collections.abc import Callable

import pytest
from glance_store import exceptions

from harness import host as hosts
from harness.host import Host
from harness.host import at
from harness.host import download
from tests.unit.driver.glance import DATA
from tests.unit.driver.glance import Unread
from tests.unit.driver.glance import other
from tests.unit.driver.glance import upload
from tmpl_glance_store import driver


def test_an_image_that_is_bound_already_is_a_duplicate(
    host: Host, store: driver.Store
) -> None:
    image_id = hosts.new_id()
    url = upload(store, DATA, image_id)
    with pytest.raises(exceptions.Duplicate):
        store.add(image_id, io.BytesIO(b'nevergonnamakeit'), 0, 'sha256')
    assert download(store, url) == DATA
    assert host.disagreements() == []


@pytest.mark.parametrize('algorithm', ['fake_algo', 'shake_128', '', 'md5 '])
def test_an_unknown_hashing_algorithm_is_told_before_anything_is_read(
    host: Host, store: driver.Store, algorithm: str
) -> None:
    with pytest.raises(exceptions.UnknownHashingAlgo):
        store.add(hosts.new_id(), Unread(DATA), len(DATA), algorithm)
    assert host.is_clean()


@pytest.mark.parametrize(
    'image_id',
    ['..', '../x', 'a/b', '', 'a' * 65, 'a\n', 'a%2fb', 'a?b', 'a#b', 'ä'],
)
def test_an_image_id_that_no_url_could_hold_is_invalid(
    host: Host, store: driver.Store, image_id: str
) -> None:
    with pytest.raises(exceptions.Invalid):
        store.add(image_id, Unread(DATA), len(DATA), 'sha256')
    assert host.is_clean()


ID, DIGEST, TOKEN = hosts.new_id(), 'a' * 64, 'b' * 32
MALFORMED = {
    'only the scheme': 'tmpl://',
    'no token': f'tmpl://test/{ID}/{DIGEST}',
    'empty token': f'tmpl://test/{ID}/{DIGEST}/',
    'a part too many': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}/x',
    'slash at the end': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}/',
    'newline at the end': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}\n',
    'newline within': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[:16]}\n{TOKEN[16:]}',
    'space before': f' tmpl://test/{ID}/{DIGEST}/{TOKEN}',
    'query': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}?x=1',
    'fragment': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}#x',
    'one slash': f'tmpl:/test/{ID}/{DIGEST}/{TOKEN}',
    'another scheme': f'file://test/{ID}/{DIGEST}/{TOKEN}',
    'scheme in upper case': f'TMPL://test/{ID}/{DIGEST}/{TOKEN}',
    'no cluster': f'tmpl:///{ID}/{DIGEST}/{TOKEN}',
    'cluster is ..': f'tmpl://../{ID}/{DIGEST}/{TOKEN}',
    'user and port': f'tmpl://u:p@test:1/{ID}/{DIGEST}/{TOKEN}',
    'cluster in upper case': f'tmpl://Test/{ID}/{DIGEST}/{TOKEN}',
    'cluster too long': f'tmpl://{"t" * 64}/{ID}/{DIGEST}/{TOKEN}',
    'image id is ..': f'tmpl://test/../{DIGEST}/{TOKEN}',
    'image id climbs': f'tmpl://test/..%2f..%2fetc/{DIGEST}/{TOKEN}',
    'image id in upper case': f'tmpl://test/{ID.upper()}/{DIGEST}/{TOKEN}',
    'image id too long': f'tmpl://test/{"i" * 65}/{DIGEST}/{TOKEN}',
    'digest is ..': f'tmpl://test/{ID}/../{TOKEN}',
    'digest in upper case': f'tmpl://test/{ID}/{DIGEST.upper()}/{TOKEN}',
    'digest too short': f'tmpl://test/{ID}/{DIGEST[1:]}/{TOKEN}',
    'digest too long': f'tmpl://test/{ID}/{DIGEST}a/{TOKEN}',
    'digest is not hex': f'tmpl://test/{ID}/{"g" * 64}/{TOKEN}',
    'digits of another script': f'tmpl://test/{ID}/{"٣" * 64}/{TOKEN}',
    'token in upper case': f'tmpl://test/{ID}/{DIGEST}/{TOKEN.upper()}',
    'token too short': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[1:]}',
    'token too long': f'tmpl://test/{ID}/{DIGEST}/{TOKEN}b',
    'token is *': f'tmpl://test/{ID}/{DIGEST}/*',
    'NUL': f'tmpl://test/{ID}/{DIGEST}/{TOKEN[:-1]}\0',
    'very long': 'tmpl://' + 'a/' * 100_000,
    'empty': '',
}


@pytest.mark.parametrize('url', MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_url_is_refused_and_not_repeated(
    store: driver.Store, url: str
) -> None:
    where = driver.StoreLocation({}, store.conf)
    with pytest.raises(exceptions.BadStoreUri) as caught:
        where.parse_uri(url)
    assert TOKEN not in str(caught.value)
    assert DIGEST not in str(caught.value)


FORGED = {
    'cluster': lambda c, i, d, t: ('another', i, d, t),
    'image id': lambda c, i, d, t: (c, hosts.new_id(), d, t),
    'digest': lambda c, i, d, t: (c, i, other(d), t),
    'token': lambda c, i, d, t: (c, i, d, other(t)),
    'token all zero': lambda c, i, d, t: (c, i, d, '0' * 32),
    'digest and token': lambda c, i, d, t: (c, i, other(d), other(t)),
}


@pytest.mark.parametrize('forge', FORGED.values(), ids=FORGED)
def test_a_forged_url_finds_nothing_and_deletes_nothing(
    host: Host, store: driver.Store, forge: Callable[..., tuple[str, ...]]
) -> None:
    mine, other_image = upload(store), upload(store, b'another image')
    parts = mine.removeprefix('tmpl://').split('/')
    forged = at(store, 'tmpl://' + '/'.join(forge(*parts)))
    for call in (store.get, store.get_size, store.delete):
        with pytest.raises(exceptions.NotFound) as caught:
            call(forged)
        assert parts[3] not in str(caught.value)
    assert download(store, mine) == DATA
    assert download(store, other_image) == b'another image'
    assert host.disagreements() == []


def test_the_token_of_one_image_does_not_open_another(
    host: Host, store: driver.Store
) -> None:
    mine, theirs = (upload(store).split('/') for _ in range(2))
    forged = at(store, '/'.join([*theirs[:-1], mine[-1]]))
    for call in (store.get, store.get_size, store.delete):
        with pytest.raises(exceptions.NotFound):
            call(forged)
    assert host.disagreements() == []
