"""What is inside a store, whoever put it there: for an audit, never for a flow."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from glance_flows.ports import Listed


class Inside:
    """The objects and the unfinished uploads of a store that can be listed.

    :param name: of the store
    :param driver: of glance_store, with the methods ``listing`` and, where there is such a thing, ``unfinished``
    :param told: raises the driver's errors as ours
    """

    def __init__(self, name: str, driver: Any, told: Callable[[str], AbstractContextManager[None]]) -> None:
        self._attempt = f"cannot list the store {name}"
        self._driver = driver
        self._told = told

    def listing(self) -> Iterator[Listed]:
        """Yield every object, holding no more than a page of them in memory.

        :raises StoreError: the store cannot be listed
        """
        with self._told(self._attempt):
            yield from self._driver.listing()

    def unfinished(self) -> Iterator[Listed]:
        """Yield the uploads that were begun and neither completed nor given up, where the store keeps any.

        :raises StoreError: it cannot be asked
        """
        with self._told(self._attempt):
            yield from getattr(self._driver, "unfinished", tuple)()
