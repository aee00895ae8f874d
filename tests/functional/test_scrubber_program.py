"""``glance-scrubber`` and the commands ``scrub``, ``pending`` and ``restore``, as operators call them."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from glance_flows import states
from glance_flows.flows import delete_image
from tests.contract.scrubbers import Child, Processes
from tests.contract.scrubs import DATA
from tests.contract.worlds import eventually

WAKEUPS = int(os.environ.get("GLANCE_FLOWS_TEST_WAKEUPS", "3000"))
MANY = int(os.environ.get("GLANCE_FLOWS_TEST_MANY_IMAGES", "20000"))


#: Runs the program and prints the packages that it has loaded.
_LOADED = """
import sys
from glance_flows.cli import scrubber
status = scrubber.main(sys.argv[1:])
print(*{name.partition(".")[0] for name in sys.modules})
sys.exit(status)
"""


class TestRestore(Processes):
    """``glance-scrubber --restore``."""

    def refused(self, *arguments: str, **options: Any) -> str:
        """Run the program, which must fail and change nothing; return what it says."""
        before = self.world.picture()
        child = self.scrubber(*arguments, **options)
        self.assertEqual(1, child.end(), child.err)
        self.assertNotIn("Traceback", child.err)
        self.assertEqual(before, self.world.picture())
        return child.err

    def test_restore(self) -> None:
        """R1: exit 0; the image is active with its bytes, later scrubs leave it alone."""
        image_id = self.pending("s1", "s2", properties={"k": "v"})
        self.assertEqual(0, self.scrubber("--restore", image_id).end())
        (row,) = self.rows("images", id=image_id)
        self.assertEqual((states.ACTIVE, False, None), (row["status"], row["deleted"], row["deleted_at"]))
        self.assertEqual(0, self.scrubber().end())
        self.assertEqual([DATA, DATA], [self.bytes_in(image_id, name) for name in ("s1", "s2")])
        self.assertEqual("v", self.prop(image_id, "k"))

    def test_restore_as_json(self) -> None:
        """R1: one JSON object."""
        image_id = self.pending("s1")
        child = self.scrubber("--restore", image_id, "-f", "json")
        self.assertEqual(0, child.end(), child.err)
        self.assertEqual((image_id, 1, []), tuple(child.report[name] for name in ("image", "locations", "told")))

    def test_while_a_daemon_runs(self) -> None:
        """R2: refused while a scrubber runs on this host; a lock dies with its process, however that dies."""
        image_id = self.pending()
        conf = self.conf_file(scrub_time=3600, wakeup_time=3600)
        for end in (signal.SIGTERM, signal.SIGKILL):
            daemon = self.scrubber("--daemon", conf=conf)
            daemon.says("The scrubber daemon has started")
            self.assertIn("glance-scrubber is already running", self.refused("--restore", image_id))
            daemon.process.send_signal(end)
            daemon.end()
            child = self.scrubber("--restore", image_id)
            self.assertEqual(0, child.end(), child.err)
            self.runner.run(delete_image(image_id, delayed=True))

    def test_while_a_pass_runs(self) -> None:
        """R2: likewise for a single pass, glance-flows scrub included; other restores are free (R9)."""
        ids = self.many(30)
        child, go = self.gated_scrubber(3)
        self.assertIn("glance-scrubber is already running", self.refused("--restore", ids[-1]))
        restore = self.flows("restore", ids[-1])
        self.assertEqual(0, restore.end(), restore.err)
        go.touch()
        self.assertEqual(0, child.end())
        self.assertEqual([ids[-1]], self.files())

    def test_restore_and_daemon(self) -> None:
        """R3: refused before any store is touched, wherever the daemon option comes from."""
        image_id = self.pending()
        shutil.rmtree(self.root / "s3")
        text = "The restore and daemon options should not be set together"
        self.assertIn(text, self.refused("--restore", image_id, "--daemon"))
        conf = self.conf_file(daemon=True)
        self.assertIn(text, self.refused("--restore", image_id, conf=conf))
        self.assertFalse((self.root / "s3").exists())
        self.assertEqual(0, self.scrubber("--restore", image_id, "--nodaemon", conf=conf).end())

    def test_not_pending(self) -> None:
        """R4: told with Glance's words."""
        image_id = self.world.image(DATA)
        text = "ERROR: cannot restore the image from active to active (wanted from_state=pending_delete)\n"
        self.assertTrue(self.refused("--restore", image_id).endswith(text))
        self.assertTrue(self.refused("--restore", "nowhere").endswith("ERROR: No image found with ID nowhere\n"))

    def test_no_data(self) -> None:
        """R6: refused where no data is left."""
        image_id = self.pending("s1")
        (self.root / "s1" / image_id).unlink()
        self.assertIn("its data was not found", self.refused("--restore", image_id))


class TestPass(Processes):
    """One pass."""

    def test_quiet_unless_something_fails(self) -> None:
        """S6, S7: cron has nothing to send from a pass that went well but the log; a failure is told, exit 1."""
        bad, good = self.pending("s1"), self.pending("s2")
        (self.root / "s1" / bad).unlink()
        (self.root / "s1" / bad / "in the way").mkdir(parents=True)
        child = self.scrubber("--log-file", str(self.root / "log"))
        self.assertEqual(1, child.end())
        self.assertIn(f"image {bad}, store s1: cannot delete from the store s1", child.err)
        self.assertIn("1 failure", child.out)
        self.assertEqual([states.PENDING_DELETE, states.DELETED], [self.status(bad), self.status(good)])
        shutil.rmtree(self.root / "s1" / bad)
        child = self.scrubber("--log-file", str(self.root / "log"))
        self.assertEqual((0, "", ""), (child.end(), child.out, child.err))
        self.assertIn("Scrubbed 1 images", (self.root / "log").read_text())

    def test_command_lines_of_glance(self) -> None:
        """S6: the options of Glance's own program parse, and its files are found where Glance looks for them."""
        home = self.root / "home"
        (home / ".glance").mkdir(parents=True)
        text = (self.root / "glance-flows.conf").read_text()
        (home / ".glance" / "glance-api.conf").write_text(text + "[DEFAULT]\nscrub_time = 1000000\n")
        (home / ".glance" / "glance-scrubber.conf").write_text("[DEFAULT]\nscrub_time = 50\ndaemon = True\n")
        image_id, young = self.pending(ago=100), self.pending(ago=10)
        module = [sys.executable, "-m", "glance_flows.cli.scrubber"]
        usual = ["--debug", "--log-dir", str(self.root), "--use-syslog", "--nouse-syslog", "--nodaemon"]
        child = self.start([*module, *usual], {"HOME": str(home)})
        self.assertEqual(0, child.end(), child.err)
        self.assertEqual(states.DELETED, self.status(image_id))
        self.assertEqual(states.PENDING_DELETE, self.status(young))

    def test_called_wrongly(self) -> None:
        """S6: usage errors are 2, a file that is not there is 1; --help and --version are answers."""
        for arguments, status in ((["--nonsense"], 2), (["--config-dir", "/nowhere"], 1), (["--help"], 0)):
            child = self.scrubber(*arguments)
            self.assertEqual(status, child.end(), child.err)
            self.assertNotIn("Traceback", child.err)
        missing = self.scrubber(conf=self.root / "missing.conf")
        self.assertEqual((1, True), (missing.end(), "missing.conf" in missing.err))

    def test_wrong_options(self) -> None:
        """D2: a value that must not be is refused with the option's name."""
        for name, value in (("scrub_time", -1), ("scrub_pool_size", 0), ("wakeup_time", "soon")):
            conf = self.root / f"{name}.conf"
            text = (self.root / "glance-flows.conf").read_text()
            conf.write_text(f"{text}\n[DEFAULT]\n{name} = {value}\n")
            child = self.scrubber(conf=conf)
            self.assertEqual((1, True), (child.end(), name in child.err), child.err)

    def test_no_database(self) -> None:
        """S11: a database that cannot be read is exit 1, told in a sentence."""
        broken = self.root / "broken.sqlite"
        broken.write_bytes(b"this is no database" * 100)
        empty = self.root / "empty.sqlite"
        empty.touch()
        for path in (self.root / "no" / "folder" / "glance.sqlite", broken, empty):
            child = self.scrubber(conf=self.conf_file(connection=f"sqlite:///{path}"))
            self.assertEqual(1, child.end())
            self.assertIn("ERROR: ", child.err)
            self.assertNotIn("Traceback", child.err)

    def test_time_zones(self) -> None:
        """S4: ages are counted in UTC wherever the host is."""
        conf = self.conf_file(scrub_time=3600)
        for zone in ("Pacific/Kiritimati", "America/Los_Angeles", "UTC"):
            young, old = self.pending(ago=3500), self.pending(ago=3700)
            child = self.scrubber("-f", "json", conf=conf, TZ=zone)
            self.assertEqual((0, 1), (child.end(), child.report["images"]), zone)
            self.assertEqual([states.PENDING_DELETE, states.DELETED], [self.status(young), self.status(old)])
            self.age(young, 4000)
            self.scrubber(conf=conf).end()

    def test_dry_run(self) -> None:
        """S16: a dry run lists and touches nothing."""
        image_id = self.pending("s1", "s2", ago=100)
        before = self.world.picture()
        table, plain = self.scrubber("--dry-run"), self.scrubber("--dry-run", "-f", "json")
        self.assertEqual([0, 0], [table.end(), plain.end()])
        self.assertRegex(table.out, rf"(?m)^{image_id} +10 bytes +1m \d+s  s1, s2$")
        self.assertIn("1 image, 20 bytes would be removed", table.out)
        (due,) = plain.report["due"]
        self.assertEqual((image_id, 10, ["s1", "s2"]), (due["image"], due["size"], due["stores"]))
        self.assertTrue(100 <= due["age"] < 160, due)
        self.assertEqual((1, 20), (plain.report["images"], plain.report["bytes"]))
        self.assertEqual(before, self.world.picture())

    def test_what_is_loaded(self) -> None:
        """S15: what only imports and other databases and stores need takes time and memory, and is not loaded."""
        image_id = self.pending("s1")
        text = (self.root / "glance-flows.conf").read_text()
        (self.root / "glance-flows.conf").write_text(text + "\n[DEFAULT]\nenabled_import_methods = [by-post]\n")
        child = self.start([sys.executable, "-c", _LOADED, "--config-file", str(self.root / "glance-flows.conf")])
        self.assertEqual(0, child.end(), child.err)
        self.assertEqual(states.DELETED, self.status(image_id))
        loaded = set(child.out.split())
        self.assertLessEqual({"taskflow", "glance_store", "tooz"}, loaded)
        unwanted = {"alembic", "boto3", "cryptography", "glance_flows_plugins", "oslo_policy", "requests"}
        self.assertEqual(set(), unwanted & loaded)

    def test_memory(self) -> None:
        """S15: memory does not grow with the number of images."""
        self.many(MANY, "s1", files=False)
        conf = self.conf_file()
        for arguments in (["--dry-run", "-f", "json"], ["-f", "json"]):
            peak = self.root / "peak"
            module = [sys.executable, "-m", "tests.contract.peak", str(peak), "--config-file", str(conf)]
            child = self.start([*module, *arguments])
            self.assertEqual(0, child.process.wait(600), child.err[-2000:])
            self.assertLess(int(peak.read_text()), 100 * 1024, arguments)
        report = child.report
        self.assertEqual((MANY, MANY, 0), (report["images"], report["missing"], report["failed"]))
        self.assertAllScrubbed(MANY)


class TestDaemon(Processes):
    """A daemon."""

    def daemon(self, *arguments: str, **options: Any) -> Child:
        child = self.scrubber("--daemon", *arguments, conf=self.conf_file(**options))
        child.says("The scrubber daemon has started")
        return child

    def stopped(self, child: Child) -> None:
        child.process.terminate()
        self.assertEqual(0, child.end(), child.err)
        self.assertNotIn("Traceback", child.err)

    def test_repeats(self) -> None:
        """S6: it goes on after every pass; stopped while it waits, it ends with 0."""
        child = self.daemon(wakeup_time=0)
        for _ in range(3):
            image_id = self.pending()
            eventually(lambda each=image_id: self.status(each) == states.DELETED, "the image goes")
        self.stopped(child)
        waiting = self.daemon(wakeup_time=3600)
        self.stopped(waiting)

    def test_stopped_in_the_middle(self) -> None:
        """S6: on SIGTERM the location in hand is finished, no new one begun."""
        self.many(20)
        child, go = self.gated_scrubber(4, "--daemon")
        child.process.terminate()
        child.says("stopping: what is in hand is finished")
        go.touch()
        self.assertEqual(0, child.end(), child.err)
        self.assertEqual((16, 4), (len(self.files()), self.count(status="deleted")))
        self.assertEqual([], self.locks())

    def test_a_configuration_read_again(self) -> None:
        """S6: on SIGHUP the configuration is read again, and one that is wrong is told and not used."""
        image_id = self.pending()
        conf = self.conf_file(scrub_time=3600, wakeup_time=3600)
        child = self.scrubber("-D", conf=conf)
        child.says("The scrubber daemon has started")
        text = conf.read_text()
        conf.write_text(text.replace("scrub_time = 3600", "scrub_time = never"))
        child.process.send_signal(signal.SIGHUP)
        child.says("The configuration was read again but is not used")
        self.assertEqual(states.PENDING_DELETE, self.status(image_id))
        conf.write_text(text.replace("scrub_time = 3600", "scrub_time = 0"))
        child.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.status(image_id) == states.DELETED, "the image goes")
        self.stopped(child)

    def test_a_database_that_comes_later(self) -> None:
        """S11: without its database it says CRITICAL and goes on."""
        folder = self.root / "later"
        child = self.daemon(wakeup_time=0, connection=f"sqlite:///{folder}/glance.sqlite")
        child.says("CRITICAL")
        image_id = self.pending()
        self.db.close()
        copy = self.root / "copy"
        copy.mkdir()
        for path in self.root.glob("glance.sqlite*"):
            shutil.copy(path, copy)
        copy.rename(folder)
        eventually(lambda: not self.stores_with(image_id), "the image goes")
        self.stopped(child)

    def test_flat_memory(self) -> None:
        """S6: memory stays flat over thousands of wake-ups, which never overlap."""
        child = self.start([sys.executable, "-m", "tests.contract.waking", str(self._conf()), str(WAKEUPS)])
        child.process.wait(600)
        self.assertEqual(0, child.process.returncode, child.err[-2000:])
        report = child.report
        self.assertEqual((WAKEUPS, 1), (report["passes"], report["most"]))
        self.assertLess(report["last"] - report["first"], 2 * 1024 * 1024, report)

    def _conf(self) -> Path:
        return self.conf_file(wakeup_time=0)


class TestCommands(Processes):
    """``glance-flows scrub``, ``pending``, ``restore``."""

    def test_pending(self) -> None:
        """R9: what can be restored, and the time left."""
        conf = self.root / "glance-flows.conf"
        conf.write_text(conf.read_text() + "\n[DEFAULT]\nscrub_time = 1000\n")
        mine = self.pending("s1", "s2", ago=100, name="a name", owner="mine")
        due = self.pending("s1", ago=2000, owner="other")
        child = self.flows("pending", "-f", "json")
        self.assertEqual(0, child.end(), child.err)
        found = {row["id"]: row for row in json.loads(child.out)}
        self.assertEqual({mine, due}, set(found))
        row = found[mine]
        shown = tuple(row[name] for name in ("name", "owner", "size", "stores"))
        self.assertEqual(("a name", "mine", 10, ["s1", "s2"]), shown)
        self.assertTrue(840 < row["time_left"] <= 900, row)
        (image,) = self.rows("images", id=mine)
        self.assertEqual(image["deleted_at"].isoformat() + "Z", row["deleted_at"])
        self.assertEqual(0, found[due]["time_left"])
        chosen = ((["--owner", "mine"], {mine}), (["--store", "s1"], {mine, due}), (["--store", "s2"], {mine}))
        for arguments, expected in chosen:
            child = self.flows("pending", "-f", "json", *arguments)
            child.end()
            self.assertEqual(expected, {row["id"] for row in json.loads(child.out)})

    def test_restore_several(self) -> None:
        """R9, R4, R5: each is reported, one that fails does not keep the next; exit 1."""
        first, second = self.pending(properties={"k": "v"}), self.pending(properties={"k": "v"})
        child = self.flows("restore", first, "nowhere", second, "-f", "json")
        self.assertEqual(1, child.end(), child.err)
        rows = json.loads(child.out)
        self.assertEqual(["active", "failed", "active"], [row["status"] for row in rows])
        self.assertEqual([1, 0, 1], [row["properties"] for row in rows])
        self.assertEqual("No image found with ID nowhere", rows[1]["message"])
        self.runner.run(delete_image(second, delayed=True))
        child = self.flows("restore", "--data-only", second)
        self.assertEqual(0, child.end(), child.err)
        self.assertIsNone(self.prop(second, "k"))

    def test_scrub(self) -> None:
        """S16: filters, a report for people, and one JSON object for programs."""
        ids = [self.pending("s1", "s2", owner="a"), self.pending("s2", owner="b"), self.pending("s1", owner="b")]
        child = self.flows("scrub", "--store", "s2", "--owner", "a", "-f", "json")
        self.assertEqual((0, 1, 0), (child.end(), child.report["locations"], child.report["images"]), child.err)
        child = self.flows("scrub", "--image", ids[1])
        self.assertEqual(0, child.end(), child.err)
        self.assertRegex(
            child.out, r"^1 image scrubbed, 10 bytes freed in \d+\.\d s, \d+\.\d images a second; 0 failures\n$"
        )
        child = self.flows("scrub", "--store", "misspelt")
        self.assertEqual((1, ""), (child.end(), child.out), child.err)
        self.assertIn("there are: s1, s2", child.err)
        before = self.world.picture()
        child = self.flows("scrub", "--dry-run", "-f", "json")
        self.assertEqual((0, 2), (child.end(), child.report["images"]))
        self.assertEqual(before, self.world.picture())
        child = self.flows("scrub", "-f", "json")
        self.assertEqual((0, 2, 20, 0), (child.end(), *(child.report[n] for n in ("images", "bytes_freed", "failed"))))
        self.assertAllScrubbed(3)

    def test_scrub_that_fails(self) -> None:
        """S7, S16: what failed is told, exit 1."""
        image_id = self.pending("s1")
        self.change("image_locations", {"image_id": image_id}, meta_data={"store": "was"})
        child = self.flows("scrub", "-f", "json")
        self.assertEqual((1, 1), (child.end(), child.report["failed"]))
        (failure,) = child.report["failures"]
        self.assertEqual((image_id, "was"), (failure["image"], failure["store"]))
        self.assertIn(f"image {image_id}, store was: there is no store 'was' on this host", child.err)
