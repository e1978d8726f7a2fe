# SPDX-License-Identifier: Apache-2.0
"""What the catalog and the disks tell of: frozen records, checked when read.

Facts follow from a template's bytes and never change; claims are what people
want of it; the rest is what each node says of itself.
"""

import dataclasses
import hashlib
import hmac
import re
import secrets

from tmpl_glance_store import merkle
from tmpl_glance_store import schema
from tmpl_glance_store.schema import field

SSD, HDD, STAGING = 'ssd', 'hdd', 'staging'
TIERS = (SSD, HDD, STAGING)

#: What an operator wants of a location.
ACTIVE, DRAINING, RETIRED = PLACEMENTS = ('active', 'draining', 'retired')

#: What its node says of a location. Only the first one can take copies, only
#: the last two cannot be read.
WELL, FULL, READ_ONLY, MISSING, REFUSED = HEALTH = (
    'well',
    'full',
    'read-only',
    'missing',
    'refused',
)

#: The 64-bit hash space in which templates have their positions.
SPACE = 1 << 64

# Strict on purpose: these parts come back in URLs that users can register,
# and in paths.
CLUSTER = re.compile(r'[a-z0-9][a-z0-9_-]{0,62}')
NODE = re.compile(r'[a-z0-9][a-z0-9._-]{0,252}')
IMAGE_ID = re.compile(r'[a-z0-9][a-z0-9_-]{0,63}')
DIGEST = re.compile(r'[0-9a-f]{64}')
TOKEN = re.compile(r'[0-9a-f]{32}')
#: An id begins with the node: so no node can speak of another's location.
LOCATION_ID = re.compile(rf'{NODE.pattern}/[a-z0-9-]{{1,36}}')

#: An image's id as Glance spells it: it may have upper case.
SPELLED_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,63}')
_HEX = re.compile(r'[0-9a-f]{1,256}')
_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_./-]{0,63}')
PATH = re.compile(r'/[^\x00-\x1f\x7f]{0,4095}')
_URL = re.compile(r'https?://[A-Za-z0-9.:\[\]_-]{1,260}')
_ENDPOINT = re.compile(r'[A-Za-z0-9.:\[\]_-]{1,255}:[0-9]{1,5}')

_digest = schema.text(DIGEST)
_time = schema.number()
_optional_time = schema.optional(_time)


@dataclasses.dataclass(frozen=True, slots=True)
class Template(schema.Record):
    """Facts of immutable content; the file ``template.json`` beside a copy.

    ``digest`` is the SHA-256 of (size, root), which identifies the content;
    ``root`` the pieces root of BEP 52, which proves its pieces; ``position``
    the seeded XXH3-64 of the content; ``size`` and ``piece_size`` are bytes;
    ``checksum`` is md5 and ``multihash`` is by ``hashing_algo``, as Glance
    knows them; ``format`` is what the first bytes look like, None if unclear.
    ``held`` says why it is neither offered to others nor published, empty if
    it may be.
    """

    digest: str = field(_digest)
    root: str = field(_digest)
    size: int = field(schema.whole())
    position: int = field(schema.whole(0, SPACE - 1))
    checksum: str = field(schema.text(_HEX))
    hashing_algo: str = field(schema.text(_NAME))
    multihash: str = field(schema.text(_HEX))
    piece_size: int = field(schema.whole())
    created_at: float = field(_time)
    format: str | None = field(
        schema.optional(schema.text(_NAME)), default=None
    )
    held: str = field(schema.line(), default='')

    def agree(self) -> None:
        """Make sure that digest, root, size and piece size belong together.

        A root alone identifies nothing: see :func:`merkle.identify`.
        """
        if merkle.identify(self.size, bytes.fromhex(self.root)) != self.digest:
            raise ValueError('digest, size and root contradict each other')
        if merkle.piece_size(self.size) != self.piece_size:
            raise ValueError('size and piece_size contradict each other')


@dataclasses.dataclass(frozen=True, slots=True)
class Head(schema.Record):
    """How many images claim a template.

    Each transaction that changes the claims on a template changes this, so
    that one compare-and-swap on one key decides between two of them, however
    many claims there are.
    """

    digest: str = field(_digest)
    images: int = field(schema.whole())


@dataclasses.dataclass(frozen=True, slots=True)
class Claim(schema.Record):
    """An image wants a template to be there; its id as Glance spells it."""

    digest: str = field(_digest)
    image_id: str = field(schema.text(SPELLED_ID))


@dataclasses.dataclass(frozen=True, slots=True)
class Pin(schema.Record):
    """An operator wants a template to be on all nodes."""

    digest: str = field(_digest)
    pinned_at: float = field(_time)


@dataclasses.dataclass(frozen=True, slots=True)
class Deletion(schema.Record):
    """Nobody claims a template any more: its copies may go."""

    digest: str = field(_digest)
    deleted_at: float = field(_time)


@dataclasses.dataclass(frozen=True, slots=True)
class TemplateRecord:
    """A template in the catalog: its facts, and the claims on it.

    ``images`` are the ids of the images bound to it; ``deleted_at`` is set in
    the transaction that unbinds the last one, and gone with a new binding.
    """

    template: Template
    images: tuple[str, ...] = ()
    pinned: bool = False
    deleted_at: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Image(schema.Record):
    """The binding of a Glance image id, as Glance spells it, to a template.

    Of the token only its SHA-256 is kept: who reads the catalog cannot make
    a location URL. ``confirmed_at`` is when Glance was last seen to know the
    image, None if it never was.
    """

    image_id: str = field(schema.text(SPELLED_ID))
    digest: str = field(_digest)
    token_hash: str = field(schema.text(DIGEST))
    created_at: float = field(_time)
    confirmed_at: float | None = field(_optional_time, default=None)

    def is_bound(self, digest: str, token: str) -> bool:
        """Tell whether a URL with *digest* and *token* is this binding's."""
        return self.digest == digest and hmac.compare_digest(
            self.token_hash, hash_token(token)
        )


def new_token() -> str:
    """Return a token for a new binding: 128 random bits, in hex."""
    return secrets.token_hex(16)


def hash_token(token: str) -> str:
    """Return what the catalog keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Placement(schema.Record):
    """What the operator wants of a location: one of ``PLACEMENTS``."""

    location_id: str = field(schema.text(LOCATION_ID))
    state: str = field(schema.choice(*PLACEMENTS))


@dataclasses.dataclass(frozen=True, slots=True)
class Location(schema.Record):
    """A directory on one node's disk, as its node says.

    ``weight`` is in GiB, ``size`` and ``free`` in bytes. ``state`` is the
    operator's (see :class:`Placement`) and not in the node's record;
    ``health`` is one of ``HEALTH``, and ``reason`` explains it.
    """

    id: str = field(schema.text(LOCATION_ID))
    node: str = field(schema.text(NODE))
    tier: str = field(schema.choice(*TIERS))
    path: str = field(schema.text(PATH))
    weight: float = field(schema.number())
    state: str = dataclasses.field(default=ACTIVE)
    size: int = field(schema.whole(), default=0)
    free: int = field(schema.whole(), default=0)
    health: str = field(schema.choice(*HEALTH), default=WELL)
    reason: str = field(schema.line(), default='')

    def agree(self) -> None:
        """Make sure that the id begins with the node."""
        if self.id.partition('/')[0] != self.node:
            raise ValueError('id and node contradict each other')

    @property
    def is_readable(self) -> bool:
        """Whether its copies can be read, as far as its node knows."""
        return self.health not in (MISSING, REFUSED)


@dataclasses.dataclass(frozen=True, slots=True)
class Copy(schema.Record):
    """One template in one location, as the location's node says.

    ``complete`` is False while a writer intends to place the copy: what a
    crash leaves behind can then be told from what the catalog has lost.
    ``published`` are the images whose base files its node has made from it,
    ``refused`` says why its node must not make any.
    """

    digest: str = field(_digest)
    location_id: str = field(schema.text(LOCATION_ID))
    complete: bool = field(schema.flag)
    verified_at: float | None = field(_optional_time, default=None)
    published: tuple[str, ...] = field(
        schema.several(schema.text(SPELLED_ID)), default=()
    )
    refused: str = field(schema.line(), default='')


@dataclasses.dataclass(frozen=True, slots=True)
class Node(schema.Record):
    """A live node: the key goes with its agent's lease.

    ``instance`` tells this process from any other of that name, ``api`` is the
    base URL of its API, ``swarm`` the ``host:port`` at which it takes peers,
    ``release`` the version of its software, ``host`` Nova's name of it, empty
    if it is no compute node. ``fetching`` are the digests that it fetches
    right now: it is a peer for these, too. ``full`` are those that it should
    hold, and has no disk to write them to: the next nodes in their order hold
    them instead.
    """

    name: str = field(schema.text(NODE))
    api: str = field(schema.text(_URL))
    swarm: str = field(schema.text(_ENDPOINT))
    release: str = field(schema.line(64))
    fetching: tuple[str, ...] = field(schema.several(_digest), default=())
    full: tuple[str, ...] = field(schema.several(_digest), default=())
    instance: str = field(schema.line(64), default='')
    host: str = field(schema.line(255), default='')


@dataclasses.dataclass(frozen=True, slots=True)
class History(schema.Record):
    """Which catalog this is, and how often an operator has accepted it.

    ``id`` is random: an etcd that was emptied keeps its own identity.
    ``seed`` is the random number of the positions; ``epoch`` grows with each
    ``tmpl-manage catalog accept``.
    """

    seed: int = field(schema.whole(0, SPACE - 1))
    epoch: int = field(schema.whole(), default=0)
    created_at: float = field(_time, default=0.0)
    id: str = field(schema.text('[0-9a-f]{0,32}'), default='')
