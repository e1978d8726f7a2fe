# SPDX-License-Identifier: Apache-2.0
"""What every swarm does; see ``tmpl_glance_store/swarm/contract.py``."""

import abc
import dataclasses
import pathlib
import queue
import random
from collections.abc import Callable, Iterator

import pytest

from harness import contents
from tmpl_glance_store import exceptions
from tmpl_glance_store.swarm import contract
from tmpl_glance_store.swarm import progress

WHAT = contents.content(random.Random(7).randbytes(600_000))
PATIENCE = 60  # seconds; nothing takes so long


@dataclasses.dataclass
class Node:
    """A swarm, where it takes peers, and the digests that it told of."""

    swarm: contract.Swarm
    peer: contract.Peer
    ended: 'queue.Queue[str]'

    def state(self, digest: str = WHAT.digest) -> str | None:
        """Return the state of a transfer."""
        now = self.swarm.progress(digest)
        return now and now.state

    def wait(self) -> progress.Progress:
        """Return what there is to see once the swarm has told something."""
        assert self.ended.get(timeout=PATIENCE) == WHAT.digest
        now = self.swarm.progress(WHAT.digest)
        assert now is not None
        return now


class SwarmContract(abc.ABC):
    """Derive, say how to make a swarm, and pass."""

    @abc.abstractmethod
    def make(self, address: str, ended: Callable[[str], None]) -> Node:
        """Return a swarm at *address*; its ``ended`` queue is set later."""

    @pytest.fixture
    def nodes(self) -> Iterator[tuple[Node, Node]]:
        """Two swarms that can reach each other."""
        made = []
        for address in '127.0.0.2', '127.0.0.3':
            told: queue.Queue[str] = queue.Queue()
            node = self.make(address, told.put)
            node.ended = told
            made.append(node)
        yield made[0], made[1]
        for node in made:
            node.swarm.close()

    @pytest.fixture
    def target(self, nodes: tuple[Node, Node]) -> Node:
        """A node that has nothing yet."""
        return nodes[1]

    @pytest.fixture
    def source(self, nodes: tuple[Node, Node], tmp_path: pathlib.Path) -> Node:
        """A node that seeds."""
        WHAT.write(tmp_path / 'source')
        nodes[0].swarm.seed(
            WHAT.template, WHAT.pieces, str(tmp_path / 'source')
        )
        return nodes[0]

    @pytest.fixture
    def place(self, tmp_path: pathlib.Path) -> pathlib.Path:
        """The directory to fetch into."""
        path = tmp_path / 'target'
        path.mkdir()
        return path

    def test_a_template_arrives_and_its_end_is_told_once(
        self, source: Node, target: Node, place: pathlib.Path
    ) -> None:
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        target.swarm.connect(WHAT.digest, [source.peer])
        now = target.wait()
        assert (now.state, now.done) == (progress.COMPLETE, len(WHAT.data))
        assert (place / 'image').read_bytes() == WHAT.data
        assert (place / 'image').stat().st_mode & 0o777 == 0o600
        assert target.ended.empty()
        assert source.ended.empty()

    def test_without_peers_a_fetch_waits_in_a_file_of_full_size(
        self, target: Node, place: pathlib.Path
    ) -> None:
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        assert target.state() in (progress.PROVING, progress.FETCHING)
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        now = target.swarm.progress(WHAT.digest)
        assert now is not None
        assert (now.done, now.size) == (0, len(WHAT.data))
        assert target.ended.empty()

    def test_what_lies_there_already_needs_no_peer(
        self, target: Node, place: pathlib.Path
    ) -> None:
        (place / 'image').write_bytes(WHAT.data)
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        assert target.wait().state == progress.COMPLETE

    def test_what_was_fetched_is_served_from_where_it_moved(
        self,
        source: Node,
        target: Node,
        place: pathlib.Path,
        tmp_path: pathlib.Path,
    ) -> None:
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        target.swarm.connect(WHAT.digest, [source.peer])
        target.wait()
        source.swarm.stop(WHAT.digest)
        moved = place.rename(tmp_path / 'placed')
        target.swarm.seed(WHAT.template, WHAT.pieces, str(moved))
        assert target.state() == progress.SEEDING
        again = tmp_path / 'again'
        again.mkdir()
        source.swarm.fetch(WHAT.template, WHAT.pieces, str(again))
        source.swarm.connect(WHAT.digest, [target.peer])
        assert source.wait().state == progress.COMPLETE
        assert (again / 'image').read_bytes() == WHAT.data

    def test_contents_with_one_root_are_not_taken_for_each_other(
        self,
        source: Node,
        target: Node,
        place: pathlib.Path,
        tmp_path: pathlib.Path,
    ) -> None:
        twin = contents.twin(WHAT)
        twin.write(tmp_path / 'twin')
        source.swarm.seed(twin.template, twin.pieces, str(tmp_path / 'twin'))
        (place / 'twin').mkdir()
        for each, where in (WHAT, place), (twin, place / 'twin'):
            target.swarm.fetch(each.template, each.pieces, str(where))
            target.swarm.connect(each.digest, [source.peer])
        ended = {target.ended.get(timeout=PATIENCE) for _ in range(2)}
        assert ended == {WHAT.digest, twin.digest}
        assert (place / 'image').read_bytes() == WHAT.data
        assert (place / 'twin' / 'image').read_bytes() == twin.data

    def test_a_seed_without_its_file_fails_and_tells(
        self, target: Node, place: pathlib.Path
    ) -> None:
        target.swarm.seed(WHAT.template, WHAT.pieces, str(place))
        now = target.wait()
        assert now.state == progress.FAILED
        assert isinstance(now.error, exceptions.CorruptCopy)

    def test_a_seed_of_bad_bytes_fails_when_it_is_asked_for_them(
        self,
        nodes: tuple[Node, Node],
        place: pathlib.Path,
        tmp_path: pathlib.Path,
    ) -> None:
        rotten, target = nodes
        contents.content(bytes(len(WHAT.data))).write(tmp_path / 'rotten')
        rotten.swarm.seed(WHAT.template, WHAT.pieces, str(tmp_path / 'rotten'))
        assert rotten.state() == progress.SEEDING
        target.swarm.fetch(WHAT.template, WHAT.pieces, str(place))
        target.swarm.connect(WHAT.digest, [rotten.peer])
        now = rotten.wait()
        assert now.state == progress.FAILED
        assert isinstance(now.error, exceptions.CorruptCopy)
        assert target.ended.empty()

    def test_what_failed_can_be_begun_again(
        self, target: Node, place: pathlib.Path
    ) -> None:
        target.swarm.seed(WHAT.template, WHAT.pieces, str(place))
        assert target.wait().state == progress.FAILED
        (place / 'image').write_bytes(WHAT.data)
        target.swarm.seed(WHAT.template, WHAT.pieces, str(place))
        assert target.state() == progress.SEEDING

    def test_a_stopped_transfer_is_forgotten_and_keeps_its_file(
        self, source: Node, tmp_path: pathlib.Path
    ) -> None:
        source.swarm.stop(WHAT.digest)
        source.swarm.stop(WHAT.digest)
        assert source.state() is None
        assert (tmp_path / 'source/image').read_bytes() == WHAT.data
        assert source.ended.empty()

    def test_what_is_unknown_has_no_progress_and_no_peers(
        self, target: Node
    ) -> None:
        target.swarm.connect('0' * 64, [('127.0.0.1', 1)])
        assert target.state('0' * 64) is None

    @pytest.mark.parametrize('begin', ['seed', 'fetch'])
    def test_pieces_that_prove_nothing_begin_nothing(
        self, target: Node, place: pathlib.Path, begin: str
    ) -> None:
        for pieces in WHAT.pieces[:-1], b'', bytes(len(WHAT.pieces)):
            with pytest.raises(exceptions.CorruptCopy):
                getattr(target.swarm, begin)(WHAT.template, pieces, str(place))
        assert target.state() is None

    @pytest.mark.parametrize('begin', ['seed', 'fetch'])
    def test_an_empty_template_is_none_for_a_swarm(
        self, target: Node, place: pathlib.Path, begin: str
    ) -> None:
        empty = contents.content(b'')
        with pytest.raises(exceptions.Invalid):
            getattr(target.swarm, begin)(empty.template, b'', str(place))

    def test_it_may_be_closed_twice(self, source: Node) -> None:
        source.swarm.close()
        source.swarm.close()
