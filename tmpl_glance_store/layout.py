# SPDX-License-Identifier: Apache-2.0
"""Where everything lies on a disk: the only place that spells these names.

::

    <location>/location.json            whose directory this is
    <location>/history.json             which catalog was seen, and how far
    <location>/replaced                 made by the operator for a new disk
    <location>/incoming/<name>/         being written, fetched or converted
    <location>/templates/<dd>/<digest>/ a copy; appears by one rename
        image  template.json  pieces    its bytes, its facts, its piece layer
        base.raw  base.json             its raw form, where Nova wants that
    <location>/published/               ledger of base files; what links hold
    <location>/quarantine/              what failed its proof
"""

import os

IMAGE = 'image'
TEMPLATE = 'template.json'
PIECES = 'pieces'
BASE = 'base.raw'
BASE_RECORD = 'base.json'

PUBLISHED = 'published'
FETCH = 'fetch-'
_WORKSHOP = 'raw-'


class CopyPaths:
    """Knows where everything is in the directory of one copy."""

    __slots__ = ('directory',)

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @property
    def image(self) -> str:
        """The file with the template's bytes."""
        return os.path.join(self.directory, IMAGE)

    @property
    def template(self) -> str:
        """The file with the template's facts."""
        return os.path.join(self.directory, TEMPLATE)

    @property
    def pieces(self) -> str:
        """The file with the piece layer."""
        return os.path.join(self.directory, PIECES)

    @property
    def base(self) -> str:
        """The raw form of the image."""
        return os.path.join(self.directory, BASE)

    @property
    def base_record(self) -> str:
        """The file that says what the raw form is."""
        return os.path.join(self.directory, BASE_RECORD)


class Paths:
    """Knows where everything is below the directory *root* of a location."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.marker = os.path.join(root, 'location.json')
        self.history = os.path.join(root, 'history.json')
        self.replaced = os.path.join(root, 'replaced')
        self.incoming = os.path.join(root, 'incoming')
        self.templates = os.path.join(root, 'templates')
        self.quarantine = os.path.join(root, 'quarantine')
        self.published = os.path.join(root, PUBLISHED)

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
        return CopyPaths(self.copy(digest)).image

    def fetch(self, digest: str) -> str:
        """Return the directory in which a template is being fetched."""
        return os.path.join(self.incoming, f'{FETCH}{digest}')

    def workshop(self, digest: str) -> str:
        """Return the directory in which a template's raw form is made."""
        return os.path.join(self.incoming, f'{_WORKSHOP}{digest}')

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
