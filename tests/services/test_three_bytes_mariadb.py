"""D1: on a MariaDB whose tables hold characters of three bytes only, as a Glance's mostly do."""

import sqlalchemy as sa

from glance_flows import errors, states
from glance_flows.flows import copy_image
from tests.contract.flows import DATA, Flows
from tests.services.servers import MYSQL, OnServer


class TestThreeBytes(OnServer, Flows):
    """The tables are made like that before anything is in them."""

    server = MYSQL

    def setUp(self) -> None:
        super().setUp()
        narrow = {"images": "name VARCHAR(255)", "image_properties": "value TEXT", "task_info": "message TEXT"}
        with self.db.engine.engine.begin() as connection:
            for table, column in narrow.items():
                connection.execute(sa.text(f"ALTER TABLE {table} MODIFY {column} CHARACTER SET utf8mb3"))

    def test_a_name_that_does_not_fit(self) -> None:
        """A name with an emoji is refused in plain words, and nothing of the image is made."""
        before = self.world.picture()
        failure = self.assertRaises(errors.BadRequest, self.world.image, name="a \N{ROCKET}")
        self.assertIn("emoji", str(failure))
        self.assertEqual(before, self.world.picture())

    def test_a_failure_whose_words_do_not_fit(self) -> None:
        """C12: the lock is gone and the task tells why, whatever characters a store's failure is told with."""
        image_id = self.world.image(DATA)
        self.store("m1").fail_add = errors.StoreError("no \N{ROCKET} here")
        self.assertRaises(errors.StoreError, self.runner.run, copy_image(image_id, to=["m1"]))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual((states.TASK_FAILURE, "no \N{REPLACEMENT CHARACTER} here"), (task["status"], task["message"]))
        self.assertNotIn(states.LOCK, self.db.images.get(image_id).properties)
