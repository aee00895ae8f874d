"""One holder an image: a running Glance and our flows shut each other out, and bury each other's dead (C9, C25)."""

import os
import threading
import uuid
from datetime import timedelta

import requests
from oslo_utils import timeutils

from glance_flows import Run, errors, opts
from glance_flows.db import Claim
from glance_flows.flows import copy_image
from glance_flows.services import Services
from tests.interop.beside import BesideGlanceTestCase
from tests.interop.glance_client import wait_for_import
from tests.interop.waiting import wait_until

DATA = os.urandom(300_017)
ROUNDS = 4


class TestExclusionOnSQLite(BesideGlanceTestCase):
    backend = "sqlite"

    def _copy_by_glance(self, image_id: str, store: str) -> requests.Response:
        body = {"method": {"name": "copy-image"}, "stores": [store]}
        for _ in range(5):
            answer = self.glance.request("POST", f"images/{image_id}/import", json=body)
            if answer.status_code != 500:
                break  # on SQLite a Glance answers so when somebody else writes at the same moment
        return answer

    def _aged(self, task_id: str, **age: int) -> None:
        """Let a task have given its last sign of life some time ago."""
        then = timeutils.utcnow() - timedelta(**age)
        self.database.rows("UPDATE tasks SET updated_at = :then WHERE id = :t", then=str(then), t=task_id)
        lock = "UPDATE image_properties SET created_at = :then, updated_at = :then WHERE value = :t"
        self.database.rows(lock, then=str(then), t=task_id)

    def _dead_run(self, image_id: str) -> str:
        """Leave what a run of ours leaves that was killed right after it took the image: its lock and its task."""
        request = {"image_id": image_id, "backend": ["s2"], "import_req": {"method": {"name": "copy-image"}}}
        services = Services.from_conf(opts.load(self.conf_files))
        self.addCleanup(services.close)
        run_id = str(uuid.uuid4())
        services.db.claims.take(Claim(run_id, image_id, ("active",), "admin-project", request))
        return run_id

    def _dead_import(self, image_id: str) -> str:
        """Kill the Glance in the middle of a copy, start it again, and return the id of the task."""
        with self.server.held_saves() as saves:
            self.assertEqual(202, self._copy_by_glance(image_id, "s2").status_code)
            saves.wait_for_one()
            self.server.kill()
        self.server.restart()
        return self.properties(image_id)["os_glance_import_task"]

    def test_glance_is_refused_while_we_hold_the_image(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2"]), "s2")
        self.assertEqual(held.run.id, self.glance.show(image_id)["os_glance_import_task"])
        answer = self._copy_by_glance(image_id, "s3")
        self.assertEqual((409, True), (answer.status_code, "Image has active task" in answer.text), answer.text)
        self.assertEqual([held.run.id], [task["id"] for task in self.glance.tasks(image_id)])
        self.assertIsNone(held.let_go())
        self.assert_held_by({"s1", "s2"}, image_id, DATA)
        self.assertEqual(202, self._copy_by_glance(image_id, "s3").status_code)
        wait_for_import(self.glance, image_id)
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_we_are_refused_while_glance_holds_the_image(self) -> None:
        image_id = self.active_image(DATA)
        with self.server.held_saves() as saves:
            self.assertEqual(202, self._copy_by_glance(image_id, "s2").status_code)
            saves.wait_for_one()
            before = self.properties(image_id)
            busy = self.assertRaises(errors.ImageBusy, self.runner.run, copy_image(image_id, to=["s3"]))
            self.assertIsInstance(busy, errors.Conflict)
            self.assertIn(before["os_glance_import_task"], str(busy))
            self.assertEqual(before, self.properties(image_id))
        record = wait_for_import(self.glance, image_id)
        self.assertEqual(1, len(self.glance.tasks(image_id)))
        self.assertEqual({"s1", "s2"}, set(record["stores"].split(",")))
        self.runner.run(copy_image(image_id, to=["s3"]))
        self.assert_held_by({"s1", "s2", "s3"}, image_id, DATA)

    def test_we_take_over_from_a_dead_glance(self) -> None:
        image_id = self.active_image(DATA)
        task_id = self._dead_import(image_id)
        self._aged(task_id, minutes=59)
        self.assertRaises(errors.ImageBusy, self.runner.run, copy_image(image_id, to=["s2"]))
        self._aged(task_id, minutes=61)
        self.runner.run(copy_image(image_id, to=["s2"]))
        self.assert_held_by({"s1", "s2"}, image_id, DATA)
        self.assertNotIn("os_glance_import_task", self.properties(image_id))
        states = {task["id"]: task["status"] for task in self.glance.tasks(image_id)}
        self.assertEqual("failure", states.pop(task_id))
        self.assertEqual(["success"], list(states.values()))

    def test_glance_takes_over_from_a_dead_run_of_ours(self) -> None:
        image_id = self.active_image(DATA)
        run_id = self._dead_run(image_id)
        self.assertEqual(409, self._copy_by_glance(image_id, "s2").status_code)
        self._aged(run_id, minutes=59)
        answer = self._copy_by_glance(image_id, "s2")
        self.assertEqual((409, True), (answer.status_code, "Image has active task" in answer.text), answer.text)
        self._aged(run_id, minutes=61)
        self.assertEqual(202, self._copy_by_glance(image_id, "s2").status_code)
        wait_for_import(self.glance, image_id)
        self.assert_held_by({"s1", "s2"}, image_id, DATA)
        dead = {task["id"]: task for task in self.glance.tasks(image_id)}[run_id]
        self.assertEqual(("failure", "Expired lock preempted"), (dead["status"], dead["message"]))

    def test_a_run_that_glance_took_over_writes_nothing_more(self) -> None:
        image_id = self.active_image(DATA)
        held = self.hold(copy_image(image_id, to=["s2"]), "s2")
        with self.server.held_saves() as saves:
            # Glance takes the lock over, and then saves the image before it answers.
            thread = threading.Thread(target=wait_until, args=(lambda: self._overtaken(image_id, held.run), 10))
            thread.start()
            saves.wait_for_one()
            self.assertIsInstance(held.let_go(), errors.LockLost)
            # What it had written before it noticed is written down, and goes when the image is free again (F6).
            self.assertTrue(all("s2" in item for item in held.run.leftovers.items))
        thread.join()
        wait_for_import(self.glance, image_id)
        for run in self.runner.resume():
            run.wait(30)
        self.assert_held_by({"s1", "s3"}, image_id, DATA)

    def _overtaken(self, image_id: str, run: Run) -> bool:
        """Let Glance try; a pulse of the run in between may have renewed its lease."""
        self._aged(run.id, minutes=61)
        return self._copy_by_glance(image_id, "s3").status_code == 202

    def test_whoever_comes_second_is_told(self) -> None:
        """At the same moment, several times: who was let in has its copy, who was not leaves nothing."""
        for _ in range(ROUNDS):
            image_id = self.active_image(DATA)
            answers: list[int] = []
            start = threading.Barrier(2)

            def ask(image: str = image_id, barrier: threading.Barrier = start, told: list[int] = answers) -> None:
                barrier.wait()
                told.append(self._copy_by_glance(image, "s3").status_code)

            thread = threading.Thread(target=ask)
            thread.start()
            start.wait()
            expected = {"s1"}
            try:
                self.runner.run(copy_image(image_id, to=["s2"]))
                expected.add("s2")
            except errors.Conflict:
                pass
            thread.join()
            self.assertIn(answers, ([202], [409]))
            if answers == [202]:
                expected.add("s3")
                wait_for_import(self.glance, image_id)
            self.assertGreater(len(expected), 1)
            self.assert_held_by(expected, image_id, DATA)
            self.assertNotIn("os_glance_import_task", self.properties(image_id))


class TestExclusionOnPostgreSQL(TestExclusionOnSQLite):
    backend = "postgresql"


class TestExclusionOnMariaDB(TestExclusionOnSQLite):
    backend = "mysql"
