# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the driver."""

import pytest

from harness.host import Host
from tmpl_glance_store import driver


@pytest.fixture
def store(host: Host) -> driver.Store:
    """A store in the single-store configuration."""
    return host.store()
