"""What the database room promises, on every kind of database: concrete classes give one."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from oslo_utils import timeutils

from glance_flows import errors, states
from glance_flows.db import Claim, Database, migrate, models
from glance_flows.flows import copy_image
from tests.contract.worlds import PATIENCE, FlowCase

KEY = "0123456789abcdef"


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make every call on a thread of its own, at the same moment; return results and errors in their places."""
    met = threading.Barrier(len(calls), timeout=PATIENCE)
    results: list[Any] = [None] * len(calls)

    def work(number: int) -> None:
        met.wait()
        try:
            results[number] = calls[number]()
        except Exception as failure:
            results[number] = failure

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def run_of(image_id: str) -> str:
    """Return the id of the run that :func:`claim` is for."""
    return f"run-{image_id[:30]}"


def claim(image_id: str, run_id: str | None = None, *statuses: str) -> Claim:
    """Return a claim on an active image."""
    return Claim(run_id or run_of(image_id), image_id, statuses or (states.ACTIVE,), "owner", {"image_id": image_id})


class ClaimContract:
    """The lock: C9 and C25."""

    def test_the_lock_is_glances(self: Any) -> None:
        """C25: the lock is the property that Glance uses, its value the id of a task in Glance's tables."""
        image_id = self.world.image(b"x")
        self.assertEqual(states.ACTIVE, self.db.claims.take(claim(image_id)))
        (row,) = self.rows("image_properties", image_id=image_id, name="os_glance_import_task")
        self.assertEqual((run_of(image_id), False), (row["value"], row["deleted"]))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual(
            (run_of(image_id), "api_image_import", "processing", "owner"),
            (task["id"], task["type"], task["status"], task["owner"]),
        )
        self.assertTrue(self.db.claims.release(claim(image_id), "success", "done", {"image_id": image_id}))
        self.assertIsNone(self.prop(image_id, states.LOCK))
        (task,) = self.db.tasks_of(image_id)
        self.assertEqual(("success", "done", {"image_id": image_id}), (task["status"], task["message"], task["result"]))
        self.assertGreater(task["expires_at"], task["updated_at"] + timedelta(hours=47))

    def test_one_of_many_takes_it(self: Any) -> None:
        """C9, C25: of many that try at the same moment one has the image; the others leave no task."""
        image_id = self.world.image(b"x")
        names = [f"run-{number}" for number in range(8)]
        results = at_once(*(lambda n=name: self.db.claims.take(claim(image_id, n)) for name in names))
        self.assertEqual([errors.ImageBusy] * 7, [type(found) for found in results if found != states.ACTIVE])
        winner = names[results.index(states.ACTIVE)]
        self.assertEqual([winner], [task["id"] for task in self.db.tasks_of(image_id)])
        self.assertEqual(winner, self.prop(image_id, states.LOCK))

    def test_many_images_at_once(self: Any) -> None:
        """C25: writers wait for one another; nothing is locked or lost."""
        images = [self.world.image(b"x") for _ in range(10)]

        def whole(image_id: str) -> bool:
            mine = claim(image_id, image_id)
            self.db.claims.take(mine)
            self.db.images.begin_import(image_id, image_id, ["s2"], importing=False)
            self.db.locations.record(image_id, image_id, f"file:///{image_id}", {"store": "s2"})
            return self.db.claims.release(mine, "success", "")

        self.assertEqual([True] * 10, at_once(*(lambda i=image_id: whole(i) for image_id in images)))
        for image_id in images:
            self.assertEqual(["s1", "s2"], self.db.images.get(image_id).stores)

    def test_taking_it_twice(self: Any) -> None:
        """C19: a task that is executed again finds that the run has the image already."""
        image_id = self.world.image(b"x")
        self.db.claims.take(claim(image_id))
        self.db.claims.take(claim(image_id))
        self.assertEqual(1, len(self.db.tasks_of(image_id)))

    def test_a_lock_that_was_deleted(self: Any) -> None:
        """C25, P4: the row of an earlier lock, soft-deleted with others by a Glance, is used again."""
        image_id = self.world.image(b"x")
        gone = {"deleted": True, "deleted_at": timeutils.utcnow()}
        self.insert("image_properties", image_id=image_id, name=states.LOCK, value="old", **gone)
        self.db.claims.take(claim(image_id))
        (row,) = self.rows("image_properties", image_id=image_id, name=states.LOCK)
        self.assertEqual((run_of(image_id), False, None), (row["value"], row["deleted"], row["deleted_at"]))

    def test_the_dead_and_the_living(self: Any) -> None:
        """C25: a dead run's lock is taken over, a live one's is not; a glance-api's lives longer than ours."""
        own, foreign = 60, 3600
        cases = ((True, own - 10, False), (True, own + 5, True), (False, own + 5, False), (False, foreign + 5, True))
        for ours, age, dead in cases:
            image_id = self.world.image(b"x")
            other = self.lock_as_another(image_id, age=age, ours=ours)
            mine = claim(image_id)
            if not dead:
                self.assertRaisesRegex(errors.ImageBusy, other, self.db.claims.take, mine)
                self.assertRaises(errors.ImageBusy, self.db.claims.check_free, image_id)
                continue
            self.db.claims.check_free(image_id)
            self.assertEqual(other, self.prop(image_id, states.LOCK))
            self.db.claims.take(mine)
            self.assertEqual(mine.run_id, self.prop(image_id, states.LOCK))
            overtaken = Claim(other, image_id, (states.ACTIVE,), "owner", {})
            self.assertFalse(self.db.claims.release(overtaken, "failure", "late"))
            self.assertEqual(mine.run_id, self.prop(image_id, states.LOCK))

    def test_a_lock_without_its_task(self: Any) -> None:
        """C25: a glance-api writes the lock a moment before the task; such a lock lives, too, but not for ever."""
        image_id = self.world.image(b"x")
        self.lock_as_another(image_id, task=False)
        self.assertRaises(errors.ImageBusy, self.db.claims.take, claim(image_id))
        self.age_lock(image_id, 61)
        self.db.claims.take(claim(image_id))

    def test_a_glance_api_at_the_same_moment(self: Any) -> None:
        """C25: a lock that is being written while we take the image wins; we are told that the image is busy."""
        image_id = self.world.image(b"x")
        written, go = threading.Event(), threading.Event()

        def other() -> None:
            table = models.image_properties

            def change(connection: sa.Connection) -> None:
                connection.execute(sa.insert(table).values(image_id=image_id, name=states.LOCK, value="glance"))
                written.set()
                go.wait(PATIENCE)

            self.db.engine.write(change)

        def ours() -> Any:
            written.wait(PATIENCE)
            # Time to come up against the other's row; what is asserted holds if it is too short, too.
            threading.Timer(0.1, go.set).start()
            return self.db.claims.take(claim(image_id))

        _, refused = at_once(other, ours)
        self.assertIsInstance(refused, errors.ImageBusy)
        self.assertEqual("glance", self.prop(image_id, states.LOCK))
        self.assertEqual([], self.db.tasks_of(image_id))

    def test_refusals_leave_nothing(self: Any) -> None:
        """C2, C5: another status is a conflict, a deleted image gone; neither a lock nor a task is left."""
        image_id = self.world.image(b"x")
        self.assertRaises(errors.Conflict, self.db.claims.take, claim(image_id, None, states.QUEUED))
        self.db.deletions.begin(image_id)
        self.assertRaises(errors.Gone, self.db.claims.take, claim(image_id))
        self.assertRaises(errors.Gone, self.db.claims.take, claim("no-such-image"))
        self.assertEqual([], self.rows("image_properties", image_id=image_id))
        self.assertEqual([], self.db.tasks_of(image_id))

    def test_a_run_that_was_overtaken_writes_nothing(self: Any) -> None:
        """C25: every write of a run is refused once another holds the image, or the image is gone."""
        image_id = self.world.image(b"x")
        self.lock_as_another(image_id)
        db = self.db
        writes = (
            lambda: db.images.begin_import(run_of(image_id), image_id, ["s2"], importing=False),
            lambda: db.images.end_import(run_of(image_id), image_id, None, {}),
            lambda: db.locations.record(run_of(image_id), image_id, "file:///x", {"store": "s2"}),
            lambda: db.locations.fail(run_of(image_id), image_id, "s2"),
            lambda: db.locations.publish(run_of(image_id), image_id, [], None),
        )
        before = self.world.picture()
        for write in writes:
            self.assertRaises(errors.LockLost, write)
        self.assertEqual(before, self.world.picture())
        self.db.deletions.begin(image_id)
        before = self.world.picture()
        for write in writes:
            self.assertRaises(errors.Gone, write)
        self.assertEqual(before, self.world.picture())

    def test_signs_of_life(self: Any) -> None:
        """C25, C26: a renewal moves the task's updated_at, tells progress, and nothing to a run that is done."""
        first, second, done = (self.world.image(b"x") for _ in range(3))
        for image_id in (first, second, done):
            self.db.claims.take(claim(image_id, image_id))
        self.db.claims.release(claim(done, done), "failure", "the last word")
        for image_id in (first, second):
            self.age_lock(image_id, 50)
        self.db.claims.renew({first: "half", second: None, done: "half"})
        now = timeutils.utcnow()
        for image_id, message in ((first, "half"), (second, ""), (done, "the last word")):
            (task,) = self.db.tasks_of(image_id)
            self.assertLess(now - task["updated_at"], timedelta(seconds=20))
            self.assertEqual(message, task["message"])

    def test_looking(self: Any) -> None:
        """C15, C25: one look tells who holds an image, and whether it is gone."""
        free, held, gone = (self.world.image(b"x") for _ in range(3))
        self.db.claims.take(claim(held))
        self.db.deletions.begin(gone)
        signs = self.db.claims.look([free, held, gone, "unknown"])
        found = {image_id: (sign.holder, sign.gone) for image_id, sign in signs.items()}
        self.assertEqual({free: (None, False), held: (run_of(held), False), gone: (None, True)}, found)


class RowContract:
    """Rows of images, properties, locations: P2 to P6, S1 to S3, S9."""

    def test_merging(self: Any) -> None:
        """P2, P3: keys that are set win, others stay; with purge_properties others go, softly."""
        image_id = self.world.image(properties={"a": "1", "b": "2"})
        self.db.properties.merge(image_id, {"b": "3", "c": "4"})
        self.assertEqual({"a": "1", "b": "3", "c": "4"}, dict(self.db.images.get(image_id).properties))
        self.db.properties.merge(image_id, {"c": "5"}, purge_properties=True)
        self.assertEqual({"c": "5"}, dict(self.db.images.get(image_id).properties))

    def test_soft_deletion_and_revival(self: Any) -> None:
        """P4: a soft-deleted row has deleted and deleted_at; one that is set again has neither, and is the same row."""
        image_id = self.world.image(properties={"a": "1"})
        (before,) = self.rows("image_properties", image_id=image_id)
        self.db.properties.merge(image_id, {}, purge_properties=True)
        (gone,) = self.rows("image_properties", image_id=image_id)
        self.assertEqual((before["id"], True), (gone["id"], gone["deleted"]))
        self.assertIsNotNone(gone["deleted_at"])
        self.db.properties.merge(image_id, {"a": "2"})
        (back,) = self.rows("image_properties", image_id=image_id)
        kept = tuple(back[name] for name in ("id", "deleted", "deleted_at", "value"))
        self.assertEqual((before["id"], False, None, "2"), kept)

    def test_states_change_by_compare_and_swap(self: Any) -> None:
        """P5: a status that somebody else changed meanwhile is not overwritten; of many changes at once one is made."""
        image_id = self.world.image()
        self.assertFalse(self.db.images.move(image_id, states.UPLOADING, states.IMPORTING))
        self.assertEqual(states.QUEUED, self.db.images.get(image_id).status)
        move = self.db.images.move
        moved = at_once(*[lambda: move(image_id, states.QUEUED, states.IMPORTING)] * 6)
        self.assertEqual(1, moved.count(True))
        self.assertRaises(ValueError, move, image_id, states.DELETED, states.ACTIVE)

    def test_every_character(self: Any) -> None:
        """D1, P1: names, properties and tags of any script come back as they were given."""
        text = "\N{ROCKET} Абв 漢字 \N{FAMILY}'\"\\%_"
        image_id = self.world.image(name=text, properties={"key": text}, tags=(text,))
        image = self.db.images.get(image_id)
        self.assertEqual((text, text, (text,)), (image.name, image.properties["key"], image.tags))

    def test_pages(self: Any) -> None:
        """S15: images are listed by key, whatever else there is."""
        mine = sorted(self.world.image(owner=self.id()[-200:]) for _ in range(5))
        first = self.db.images.page(limit=3, owner=self.id()[-200:])
        rest = self.db.images.page(limit=3, after=first[-1].id, owner=self.id()[-200:])
        self.assertEqual(mine, [image.id for image in first + rest])
        self.assertEqual(mine, [image.id for image in self.db.images.each(owner=self.id()[-200:])])

    def test_deleting(self: Any) -> None:
        """S1, S3, P4: an image with data is pending, one without is deleted at once, each with one moment for all."""
        parts = {"properties": {"k": "v"}, "tags": ("t",)}
        full, empty = self.world.image(b"x", **parts), self.world.image(**parts)
        self.insert("image_members", image_id=full, member="m", can_share=False, status="pending")
        cases = ((full, states.PENDING_DELETE, states.ACTIVE), (empty, states.DELETED, states.QUEUED))
        for image_id, status, was in cases:
            found = self.db.deletions.begin(image_id)
            self.assertEqual(was, found.status)
            (row,) = self.rows("images", id=image_id)
            self.assertEqual((status, True, found.at), (row["status"], row["deleted"], row["deleted_at"]))
            for table in ("image_locations", "image_properties", "image_tags", "image_members"):
                for part in self.rows(table, image_id=image_id):
                    self.assertEqual((True, found.at), (part["deleted"], part["deleted_at"]), table)
            self.assertRaises(errors.Gone, self.db.deletions.begin, image_id)
        (place,) = self.rows("image_locations", image_id=full)
        self.assertEqual(states.PENDING_DELETE, place["status"])

    def test_taking_a_deletion_back(self: Any) -> None:
        """S2, R5: what went with the image comes back with it, what was gone before stays gone."""
        image_id = self.world.image(b"x", properties={"k": "v", "old": "1"}, tags=("t",))
        long_ago = timeutils.utcnow().replace(microsecond=0) - timedelta(days=1)
        gone = {"deleted": True, "deleted_at": long_ago}
        self.change("image_properties", {"image_id": image_id, "name": "old"}, **gone)
        before = self.world.picture()
        found = self.db.deletions.begin(image_id)
        self.assertTrue(self.db.deletions.take_back(image_id, found.status, found.at, found.locations))
        self.assertEqual(before, self.world.picture())

    def test_protected(self: Any) -> None:
        """S3: a protected image is refused before anything is touched."""
        image_id = self.world.image(b"x", protected=True)
        before = self.world.picture()
        self.assertRaises(errors.Forbidden, self.db.deletions.begin, image_id)
        self.assertEqual(before, self.world.picture())

    def test_finishing_a_deletion(self: Any) -> None:
        """S2, S13: an image is deleted only once no location is pending."""
        image_id = self.world.image(b"x")
        (location,) = self.db.deletions.begin(image_id).locations
        self.assertFalse(self.db.deletions.finish(image_id))
        self.db.locations.mark_deleted(location)
        self.assertTrue(self.db.deletions.finish(image_id))
        self.assertEqual(states.DELETED, self.db.images.get(image_id).status)

    def test_encrypted_locations(self: Any) -> None:
        """S9, F2: with a key the URL is nowhere in the database as it is, and is read back."""
        self.services.conf.set_override("metadata_encryption_key", KEY)
        db = Database.from_conf(self.services.conf)
        self.addCleanup(db.close)
        image_id = self.world.image()
        self.db.claims.take(claim(image_id, None, states.QUEUED))
        db.locations.record(run_of(image_id), image_id, "s3://key:secret@h/b/o", {"store": "s2"})
        (row,) = self.rows("image_locations", image_id=image_id)
        self.assertNotIn("secret", row["value"])
        self.assertEqual(["s3://key:secret@h/b/o"], [place.url for place in db.locations.of(image_id)])

    def test_a_failure_tells_no_statement(self: Any) -> None:
        """F2: what the database refuses is one sentence, without the statement and its values."""
        statement = sa.text("SELECT * FROM no_such_table WHERE secret = :value")
        query = lambda connection: connection.execute(statement, {"value": "hidden"})  # noqa: E731
        failure = self.assertRaises(errors.DatabaseError, self.db.engine.read, query)
        self.assertNotIn("hidden", str(failure))
        self.assertEqual(1, len(str(failure).splitlines()))


class SyncContract:
    """``db sync``: D1."""

    def test_making_them_twice(self: Any) -> None:
        """D1: a second sync changes nothing; our revision has a table of its own."""
        image_id = self.world.image(b"x")
        before = self.world.picture()
        self.assertEqual(migrate.version(self.db.engine), migrate.sync(self.db.engine))
        self.assertEqual(before, self.world.picture())
        self.assertIn(image_id, [image.id for image in self.db.images.each()])
        names = sa.inspect(self.db.engine.engine).get_table_names()
        self.assertNotIn("alembic_version", names)
        self.assertEqual({*models.metadata.tables, migrate.VERSION_TABLE}, set(names))

    def test_a_glances_tables_are_left_alone(self: Any) -> None:
        """D1: in a database whose tables we did not make, sync is refused and alters nothing."""
        table = sa.Table(migrate.VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32)))
        engine = self.db.engine.engine
        version = migrate.version(self.db.engine)
        table.drop(engine)
        try:
            before = sorted(sa.inspect(engine).get_table_names())
            self.assertRaisesRegex(errors.ConfigurationError, "belongs to a Glance", migrate.sync, self.db.engine)
            self.assertEqual(before, sorted(sa.inspect(engine).get_table_names()))
            self.runner.run(self.copying(self.world.image(b"x")))
            self.assertEqual(before, sorted(sa.inspect(engine).get_table_names()))
        finally:
            table.create(engine)
            self.db.engine.write(lambda connection: connection.execute(table.insert().values(version_num=version)))


class DatabaseCase(ClaimContract, RowContract, SyncContract, FlowCase):
    """All of it."""

    memory = ()

    @staticmethod
    def copying(image_id: str) -> Any:
        """Return a flow that writes every table."""
        return copy_image(image_id, to=["s2"])
