# SPDX-License-Identifier: Apache-2.0
"""Records of the catalog and of the disk, as frozen dataclasses.

Every record carries a ``version``. A reader ignores fields that it does not
know and fills in defaults for those that are missing, so that an older agent
works beside a newer one; only a record of another *major* shape would get a
new catalog prefix (``/v2/``).
"""

import dataclasses
import hmac
import json
import re
from typing import Any, Self

VERSION = 1

SSD, HDD, STAGING = 'ssd', 'hdd', 'staging'
TIERS = (SSD, HDD, STAGING)

ACTIVE, DRAINING, LOST = 'active', 'draining', 'lost'

#: The 64-bit hash space in which templates have their positions.
SPACE = 1 << 64

# Strict on purpose: these parts come back in URLs that users can register.
CLUSTER = re.compile(r'[a-z0-9][a-z0-9_-]{0,62}')
NODE = re.compile(r'[a-z0-9][a-z0-9._-]{0,252}')
IMAGE_ID = re.compile(r'[a-z0-9][a-z0-9_-]{0,63}')
DIGEST = re.compile(r'[0-9a-f]{64}')
TOKEN = re.compile(r'[0-9a-f]{32}')


class Record:
    """JSON (de)serialisation shared by all records."""

    __slots__ = ()

    def to_json(self) -> bytes:
        """Return this record as UTF-8 JSON with its version."""
        fields = dataclasses.asdict(self)  # type: ignore[call-overload]
        return json.dumps(
            {'version': VERSION, **fields}, sort_keys=True
        ).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Return the record in *data*; unknown fields are ignored.

        :raises ValueError: if *data* is not JSON, or lacks a field
        """
        raw = json.loads(data)
        if not isinstance(raw, dict):
            raise ValueError(f'{cls.__name__}: not a JSON object')
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore
        try:
            return cls._build({k: v for k, v in raw.items() if k in names})
        except (TypeError, KeyError) as exc:
            raise ValueError(f'{cls.__name__}: {exc}') from exc

    @classmethod
    def _build(cls, fields: dict[str, Any]) -> Self:
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in fields.items()
            }
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Template(Record):
    """Immutable content; the file ``template.json`` beside each copy.

    ``digest`` is the BEP 52 pieces root in hex, ``position`` the XXH3-64 of
    the content, ``size`` and ``piece_size`` are bytes, ``checksum`` is md5 and
    ``multihash`` is by ``hashing_algo``, as Glance knows them.
    """

    digest: str
    size: int
    position: int
    checksum: str
    hashing_algo: str
    multihash: str
    piece_size: int
    created_at: float
    format: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class TemplateRecord(Record):
    """A template in the catalog: its facts and who refers to it.

    ``images`` are the ids of the images bound to the template. They stand
    here, not only under ``images/``, so that one compare-and-swap on one key
    decides between a binding and a removal. ``deleted_at`` is set in the
    transaction that unbinds the last image, and cleared by a new binding.
    """

    template: Template
    images: tuple[str, ...] = ()
    pinned: bool = False
    deleted_at: float | None = None

    @classmethod
    def _build(cls, fields: dict[str, Any]) -> Self:
        fields['template'] = Template.from_json(json.dumps(fields['template']))
        fields['images'] = tuple(fields.get('images', ()))
        return cls(**fields)


@dataclasses.dataclass(frozen=True, slots=True)
class Image(Record):
    """The binding of a Glance image id, as Glance spells it, to a template."""

    image_id: str
    digest: str
    token: str
    created_at: float

    def is_bound(self, digest: str, token: str) -> bool:
        """Tell whether a URL with *digest* and *token* is this binding's."""
        return self.digest == digest and hmac.compare_digest(self.token, token)


@dataclasses.dataclass(frozen=True, slots=True)
class Location(Record):
    """A directory on one node's disk; ``weight`` is in GiB."""

    id: str
    node: str
    tier: str
    path: str
    weight: float
    state: str = ACTIVE


@dataclasses.dataclass(frozen=True, slots=True)
class Copy(Record):
    """One template in one location.

    ``complete`` is False while a writer intends to place the copy: what a
    crash leaves behind can then be told from what the catalog has lost.
    ``published`` are the images whose base files its node has made from it,
    ``refused`` says why its node must not make any.
    """

    digest: str
    location_id: str
    complete: bool
    verified_at: float | None = None
    published: tuple[str, ...] = ()
    refused: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Node(Record):
    """A live node: the key goes with its agent's lease.

    ``api`` is the base URL of its API, ``swarm`` the ``host:port`` at which
    it takes peers, ``release`` the version of its software, ``fetching`` the
    digests that it fetches right now: it is a peer for these, too. ``full``
    are those that it should hold, and has no disk to write them to: the next
    nodes in their order hold them instead.
    """

    name: str
    api: str
    swarm: str
    release: str
    fetching: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
