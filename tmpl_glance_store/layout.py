# SPDX-License-Identifier: Apache-2.0
"""All paths within a location (DESIGN section 4)."""

import os

IMAGE = 'image'
TEMPLATE = 'template.json'
PIECES = 'pieces'
FETCH = 'fetch-'


class Paths:
    """Knows where everything is below the directory *root*."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.marker = os.path.join(root, 'location.json')
        self.replaced = os.path.join(root, 'replaced')
        self.incoming = os.path.join(root, 'incoming')
        self.templates = os.path.join(root, 'templates')
        self.quarantine = os.path.join(root, 'quarantine')

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that every location has."""
        return self.incoming, self.templates, self.quarantine

    def shelf(self, digest: str) -> str:
        """Return the directory of the templates whose digests begin alike."""
        return os.path.join(self.templates, digest[:2])

    def copy(self, digest: str) -> str:
        """Return the directory of a template's copy."""
        return os.path.join(self.shelf(digest), digest)

    def image(self, digest: str) -> str:
        """Return the file with a template's bytes."""
        return os.path.join(self.copy(digest), IMAGE)

    def fetch(self, digest: str) -> str:
        """Return the directory in which a template is being fetched."""
        return os.path.join(self.incoming, f'{FETCH}{digest}')

    def fetches(self) -> list[str]:
        """Return the digests of the templates being, or to be, fetched."""
        return sorted(
            name.removeprefix(FETCH)
            for name in _names(self.incoming)
            if name.startswith(FETCH)
        )

    def entries(self) -> list[str]:
        """Return the paths of everything that lies where copies should."""
        return sorted(
            os.path.join(self.templates, shelf, name)
            for shelf in os.listdir(self.templates)
            for name in _names(os.path.join(self.templates, shelf))
        )


def _names(directory: str) -> list[str]:
    return os.listdir(directory) if os.path.isdir(directory) else []
