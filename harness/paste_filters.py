# SPDX-License-Identifier: Apache-2.0
"""What stands in Glance's pipeline for Keystone and a database server."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy
import sqlalchemy.event

Application = Callable[..., Iterable[bytes]]

# Keystone's tokens hold the implied roles too.
_ROLES = {
    'admin': 'admin,member,reader',
    'member': 'member,reader',
    'service': 'service,member,reader',
}


def identity_factory(
    _configuration: Mapping[str, str],
) -> Callable[[Application], Application]:
    """Return a filter that stands in for keystonemiddleware.

    It believes a token of the form ``<user>:<role>``, and takes everybody
    else, such as ``openstack --os-auth-type none``, for an admin.
    """

    def wrap(application: Application) -> Application:
        def identify(
            environ: dict[str, Any], start_response: Callable[..., Any]
        ) -> Iterable[bytes]:
            token = environ.get('HTTP_X_AUTH_TOKEN', '')
            user, _, role = token.rpartition(':')
            user, role = (user, role) if user else ('admin', 'admin')
            environ |= {
                'HTTP_X_IDENTITY_STATUS': 'Confirmed',
                'HTTP_X_ROLES': _ROLES[role],
                'HTTP_X_USER_ID': user,
                'HTTP_X_PROJECT_ID': f'{user}-project',
            }
            return application(environ, start_response)

        return identify

    return wrap


def sqlite_factory(
    _configuration: Mapping[str, str],
) -> Callable[[Application], Application]:
    """Return a filter that lets requests through; SQLite now waits its turn.

    Glance begins each transaction as a reader. SQLite does not let a reader
    become a writer after another one has written: it says "database is
    locked", and no timeout helps. Beginning as a writer, they queue up.
    """

    @sqlalchemy.event.listens_for(
        sqlalchemy.Engine, 'before_cursor_execute', retval=True
    )
    def begin_as_writer(
        _connection: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        *_: Any,
    ) -> tuple[str, Any]:
        return (
            'BEGIN IMMEDIATE' if statement == 'BEGIN' else statement,
            parameters,
        )

    return lambda application: application
