# SPDX-License-Identifier: Apache-2.0
"""URLs that users register: none of them gets at another one's template.

Glance lets a user register a location of any scheme but a few, and passes it
to the store when the image is downloaded or deleted.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import pytest
import requests

from harness import waiting
from harness.image_api import ImageClient
from harness.image_api import parts_of
from tests.functional.conftest import Site

#: The victim's URL is tmpl://fast/{image_id}/{digest}/{token}; {own_id} is
#: the attacker's image. Each differs from the truth in one way.
FORGERIES = {
    'guessed token': 'tmpl://fast/{image_id}/{digest}/' + '0' * 32,
    'own image': 'tmpl://fast/{own_id}/{digest}/{token}',
    'own image, guessed token': 'tmpl://fast/{own_id}/{digest}/' + '0' * 32,
    'other digest': 'tmpl://fast/{image_id}/' + '0' * 64 + '/{token}',
    'other cluster': 'tmpl://slow/{image_id}/{digest}/{token}',
    'unknown cluster': 'tmpl://nowhere/{image_id}/{digest}/{token}',
    'cluster with a longer name': 'tmpl://fast2/{image_id}/{digest}/{token}',
    'no cluster': 'tmpl:///{image_id}/{digest}/{token}',
    'no token': 'tmpl://fast/{image_id}/{digest}',
    'empty token': 'tmpl://fast/{image_id}/{digest}/',
    'part of the token': 'tmpl://fast/{image_id}/{digest}/{token:.31}',
    'token and more': 'tmpl://fast/{image_id}/{digest}/{token}0',
    'token and a line': 'tmpl://fast/{image_id}/{digest}/{token}\n',
    'token and a null': 'tmpl://fast/{image_id}/{digest}/{token}\0',
    'over-long token': 'tmpl://fast/{image_id}/{digest}/' + '0' * 9999,
    'upper-case scheme': 'TMPL://fast/{image_id}/{digest}/{token}',
    'upper-case cluster': 'tmpl://FAST/{image_id}/{digest}/{token}',
    'upwards from the cluster': 'tmpl://fast/../{digest}/{token}',
    'upwards from the image': 'tmpl://fast/{image_id}/../{token}',
    'upwards at the end': 'tmpl://fast/{image_id}/{digest}/{token}/../../../{digest}/{token}',
    'upwards, encoded': 'tmpl://fast/%2e%2e/{digest}/{token}',
    'user and password': 'tmpl://a:b@fast/{image_id}/{digest}/{token}',
    'port': 'tmpl://fast:80/{image_id}/{digest}/{token}',
    'query': 'tmpl://fast/{image_id}/{digest}/{token}?offset=0',
    'fragment': 'tmpl://fast/{image_id}/{digest}/{token}#part',
    'path on the disk': 'tmpl://fast{path}',
    'file': 'file://{path}',
}


@dataclasses.dataclass
class Victim:
    """A user's image, which has to outlive every attack."""

    client: ImageClient
    image_id: str
    data: bytes
    url: str
    copy: pathlib.Path

    def forge(self, template: str, own_id: str) -> str:
        """Return a URL that aims at this image."""
        return template.format(
            **parts_of(self.url), own_id=own_id, path=self.copy / 'image'
        )

    def is_unharmed(self) -> bool:
        """Whether the image has its bytes, for its owner and on the disk."""
        return (
            self.client.download(self.image_id) == self.data
            and (self.copy / 'image').read_bytes() == self.data
        )


@pytest.fixture
def victim(
    site: Site, user: Callable[..., ImageClient], images: ImageClient
) -> Victim:
    """Alice's image."""
    alice = user('alice')
    data = os.urandom(10000)
    image_id = alice.upload(data)
    (location,) = images.locations(image_id)
    (copy,) = site.fast.copies(parts_of(location['url'])['digest'])
    return Victim(alice, image_id, data, location['url'], copy)


@pytest.fixture
def mallory(user: Callable[..., ImageClient]) -> ImageClient:
    """The attacker, an ordinary user."""
    return user('mallory')


def refused(response: requests.Response) -> bool:
    """Whether Glance says that the caller, not Glance, is wrong."""
    return 400 <= response.status_code < 500


@pytest.mark.parametrize('forgery', FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize('operation', ['add', 'replace'])
def test_a_forged_url_is_refused_for_an_image_without_data(
    victim: Victim, mallory: ImageClient, operation: str, forgery: str
) -> None:
    image_id = mallory.create()
    url = victim.forge(forgery, image_id)
    assert refused(mallory.patch_location(image_id, operation, url))
    assert mallory.show(image_id)['locations'] == []
    mallory.delete(image_id)
    assert victim.is_unharmed()


@pytest.mark.parametrize('forgery', FORGERIES.values(), ids=FORGERIES)
def test_a_forged_url_is_refused_beside_own_data(
    victim: Victim, mallory: ImageClient, forgery: str
) -> None:
    image_id = mallory.upload(b'own')
    url = victim.forge(forgery, image_id)
    assert refused(mallory.patch_location(image_id, 'add', url))
    assert mallory.download(image_id) == b'own'
    mallory.delete(image_id)
    assert victim.is_unharmed()


@pytest.mark.parametrize('forgery', FORGERIES.values(), ids=FORGERIES)
def test_a_forged_url_is_not_imported_for_a_service(
    victim: Victim,
    mallory: ImageClient,
    user: Callable[..., ImageClient],
    forgery: str,
) -> None:
    service = user('mallory', 'service')
    image_id = mallory.create()
    accepted = service.post_location(image_id, victim.forge(forgery, image_id))
    assert accepted.status_code == 202
    waiting.wait_for(
        lambda: 'os_glance_import_task' not in mallory.show(image_id),
        'the end of the import',
    )
    assert mallory.show(image_id)['status'] == 'queued'
    assert mallory.show(image_id)['locations'] == []
    mallory.delete(image_id)
    assert victim.is_unharmed()


def test_users_may_not_import_by_url_at_all(
    victim: Victim, mallory: ImageClient
) -> None:
    image_id = mallory.create()
    assert mallory.post_location(image_id, victim.url).status_code == 403


# The controls of the tests above: it is the forged part that is refused.


def test_a_user_may_register_the_true_url(
    victim: Victim, mallory: ImageClient
) -> None:
    image_id = mallory.create()
    assert mallory.patch_location(image_id, 'add', victim.url).ok
    assert mallory.download(image_id) == victim.data


def test_a_service_may_import_the_true_url(
    victim: Victim, user: Callable[..., ImageClient]
) -> None:
    service = user('mallory', 'service')
    image_id = service.create()
    assert service.post_location(image_id, victim.url).ok
    waiting.wait_for(
        lambda: service.show(image_id)['status'] == 'active',
        'the end of the import',
    )
    assert service.download(image_id) == victim.data
