# SPDX-License-Identifier: Apache-2.0
"""A client of the Image API v2, for the tests."""

from collections.abc import Iterable
from typing import Any

import requests

from harness import glance
from harness import waiting

_TIMEOUT = 120


class ImageClient:
    """The Image API v2 of a :class:`glance.GlanceServer`, over plain HTTP.

    A method that is named after an action raises ``requests.HTTPError`` when
    Glance refuses it; :meth:`request` returns whatever Glance answers.
    """

    def __init__(
        self,
        server: glance.GlanceServer,
        *,
        user: str = 'admin',
        role: str = 'admin',
    ) -> None:
        self._url = server.url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, whatever is set
        self._session.headers['X-Auth-Token'] = f'{user}:{role}'
        #: The ids of the images created, for cleaning up.
        self.created: list[str] = []

    def request(
        self, method: str, path: str, **kwargs: Any
    ) -> requests.Response:
        """Return Glance's answer to *method* on ``/v2/images`` + *path*."""
        return self._session.request(
            method, f'{self._url}/v2/images{path}', timeout=_TIMEOUT, **kwargs
        )

    def create(self) -> str:
        """Return the id of a new image that has no data yet."""
        body = {'disk_format': 'raw', 'container_format': 'bare'}
        image_id = _checked(self.request('POST', '', json=body)).json()['id']
        self.created.append(image_id)
        return image_id

    def try_upload(
        self,
        image_id: str,
        data: bytes | Iterable[bytes],
        store: str | None = None,
        **headers: str,
    ) -> requests.Response:
        """Return the answer to *data* as the image's; an iterable is chunked.

        Requests sends ``Transfer-Encoding: chunked`` for an iterable, which
        leaves the size unknown to Glance, and ``Content-Length`` for bytes.
        """
        if store:
            headers['X-Image-Meta-Store'] = store
        return self.request(
            'PUT',
            f'/{image_id}/file',
            data=data,
            headers={'Content-Type': 'application/octet-stream', **headers},
        )

    def upload(
        self, data: bytes | Iterable[bytes], store: str | None = None
    ) -> str:
        """Return the id of a new image with *data*, put into *store*."""
        image_id = self.create()
        _checked(self.try_upload(image_id, data, store))
        return image_id

    def download(self, image_id: str) -> bytes:
        """Return all the bytes of an image."""
        return _checked(self.request('GET', f'/{image_id}/file')).content

    def download_range(
        self, image_id: str, byte_range: str
    ) -> requests.Response:
        """Return the answer to a Range request, such as ``0-99`` or ``-5``."""
        return self.request(
            'GET',
            f'/{image_id}/file',
            headers={'Range': f'bytes={byte_range}'},
        )

    def show(self, image_id: str) -> dict[str, Any]:
        """Return the image's record."""
        return _checked(self.request('GET', f'/{image_id}')).json()

    def locations(self, image_id: str) -> list[dict[str, Any]]:
        """Return the image's ``url`` and ``metadata``, one per location."""
        return _checked(self.request('GET', f'/{image_id}/locations')).json()

    def stage(self, image_id: str, data: bytes) -> None:
        """Put *data* where Glance imports it from."""
        _checked(
            self.request(
                'PUT',
                f'/{image_id}/stage',
                data=data,
                headers={'Content-Type': 'application/octet-stream'},
            )
        )

    def import_into(self, image_id: str, method: str, *stores: str) -> None:
        """Have Glance import the image into *stores*, and wait for it.

        :param method: ``glance-direct`` for what is staged, ``copy-image``
            for what is in other stores already
        """
        _checked(
            self.request(
                'POST',
                f'/{image_id}/import',
                json={'method': {'name': method}, 'stores': list(stores)},
            )
        )
        waiting.wait_for(
            lambda: self._is_in(image_id, set(stores)),
            f'the import into {stores}',
        )

    def _is_in(self, image_id: str, stores: set[str]) -> bool:
        image = self.show(image_id)
        assert not image.get('os_glance_failed_import'), image
        return stores <= set(
            image.get('stores', '').split(',')
        ) and not image.get('os_glance_importing_to_stores')

    def delete_from(self, store: str, image_id: str) -> None:
        """Delete the image's data in one of its stores."""
        _checked(
            self._session.delete(
                f'{self._url}/v2/stores/{store}/{image_id}', timeout=_TIMEOUT
            )
        )

    def patch_location(
        self, image_id: str, operation: str, url: str
    ) -> requests.Response:
        """Return the answer to registering *url*, the old way.

        :param operation: ``add`` one to the locations, or ``replace`` them
        """
        location = {'url': url, 'metadata': {}}
        patch = {
            'add': {'path': '/locations/-', 'value': location},
            'replace': {'path': '/locations', 'value': [location]},
        }
        return self.request(
            'PATCH',
            f'/{image_id}',
            json=[{'op': operation, **patch[operation]}],
            headers={
                'Content-Type': 'application/openstack-images-v2.1-json-patch'
            },
        )

    def post_location(self, image_id: str, url: str) -> requests.Response:
        """Return the answer to registering *url*, the new way (POST)."""
        return self.request(
            'POST', f'/{image_id}/locations', json={'url': url}
        )

    def delete(self, image_id: str) -> None:
        """Delete the image."""
        _checked(self.request('DELETE', f'/{image_id}'))


def _checked(response: requests.Response) -> requests.Response:
    """Return *response* or raise with what Glance says about it."""
    if not response.ok:
        raise requests.HTTPError(
            f'{response.request.method} {response.url}: '
            f'{response.status_code} {response.text[:500]}',
            response=response,
        )
    return response


def parts_of(url: str) -> dict[str, str]:
    """Return the parts of a location's URL, by name."""
    scheme, _, cluster, image_id, digest, token = url.split('/')
    assert scheme == 'tmpl:', url
    return {
        'cluster': cluster,
        'image_id': image_id,
        'digest': digest,
        'token': token,
    }
