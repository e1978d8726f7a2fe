# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the API."""

import pathlib

import pytest

from tests.unit.agent.http.node import Node


@pytest.fixture
def node(tmp_path: pathlib.Path) -> Node:
    return Node(tmp_path)
