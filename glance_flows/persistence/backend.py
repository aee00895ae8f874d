"""taskflow's own backend for the state of flows, with its tables."""

import threading
from typing import Any

import sqlalchemy as sa
from taskflow.persistence.backends import impl_sqlalchemy


class Backend(impl_sqlalchemy.SQLAlchemyBackend):
    """taskflow's backend with one connection object for everybody.

    A connection object holds no connection, only table definitions; made anew for every call, as they are by default,
    they defeat SQLAlchemy's cache of compiled statements.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__({}, engine=engine)
        self._connection: Any = None
        self._once = threading.Lock()

    def get_connection(self) -> Any:
        """Return the one connection object."""
        with self._once:
            if self._connection is None:
                self._connection = super().get_connection()
            return self._connection
