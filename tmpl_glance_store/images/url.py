# SPDX-License-Identifier: Apache-2.0
"""The URL under which Glance keeps an image of this store."""

import dataclasses
import re
from typing import Self

from tmpl_glance_store import objects

SCHEME = 'tmpl'

_URL = re.compile(
    '/'.join(
        (
            f'{SCHEME}:/',
            f'(?P<cluster>{objects.CLUSTER.pattern})',
            f'(?P<image_id>{objects.IMAGE_ID.pattern})',
            f'(?P<digest>{objects.DIGEST.pattern})',
            f'(?P<token>{objects.TOKEN.pattern})',
        )
    ),
    re.ASCII,
)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageUrl:
    """``tmpl://<cluster>/<image id>/<digest>/<token>``.

    Its string must not be shown to users: who knows the token can register
    the URL, and read the image.
    """

    cluster: str
    image_id: str
    digest: str
    token: str = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the URL in *text*.

        :raises ValueError: if it is not of exactly the form above: users can
            register URLs
        """
        match = _URL.fullmatch(text)
        if match is None:
            # The text is not repeated: it may hold somebody's token.
            raise ValueError(
                f'not a {SCHEME}://<cluster>/<image id>/<digest>/<token> URL'
            )
        return cls(**match.groupdict())

    @classmethod
    def of(cls, cluster: str, image: objects.Image, token: str) -> Self:
        """Return the URL of a binding."""
        # Glance allows upper case in the ids of images, our URLs do not.
        return cls(cluster, image.image_id.lower(), image.digest, token)

    def __str__(self) -> str:
        return (
            f'{SCHEME}://{self.cluster}/{self.image_id}/{self.digest}/'
            f'{self.token}'
        )
