# SPDX-License-Identifier: Apache-2.0
"""What a caller sees of a transfer."""

import dataclasses

from tmpl_glance_store import exceptions

#: Proving what an earlier fetch has left on disk.
PROVING = 'proving'
FETCHING = 'fetching'
#: All pieces are proven and written; runs of zeros are being made holes.
FINISHING = 'finishing'
#: The file is ready and will not change; peers are served from it.
COMPLETE = 'complete'
SEEDING = 'seeding'
#: Ended by an error; nothing goes on until it is fetched or seeded again.
FAILED = 'failed'


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """A transfer at one moment.

    ``done`` counts the bytes of proven pieces, of ``size``. ``downloaded``
    and ``uploaded`` count what went over the wire since the transfer began
    in this session, the rates are the same by second; ``eta`` is in seconds,
    None if nobody can tell.
    ``banned`` are the addresses of peers that sent bytes which failed their
    proof: their copies deserve a scrub.
    """

    state: str
    done: int
    size: int
    download_rate: int = 0
    upload_rate: int = 0
    downloaded: int = 0
    uploaded: int = 0
    peers: int = 0
    eta: float | None = None
    error: exceptions.TmplError | None = None
    banned: tuple[str, ...] = ()
