"""The program itself: help, statuses, configuration, databases and methods."""

import doctest
import re
from unittest import mock

import fixtures

from glance_flows.cli import scrubbing
from glance_flows.scrubber import Report
from tests.functional import cli


class ProgramTest(cli.CommandTestCase):
    def test_help(self) -> None:
        listed = self.run_command("--help", configured=False).stdout.decode()
        for name in ("copy", "db sync", "image create", "import", "method list", "quickstart"):
            self.assertRegex(listed, rf"\n  {name} +[A-Z]")
        shown = self.run_command("image", "save", "--help", configured=False).stdout.decode()
        self.assertIn("--force", shown)
        self.assertEqual(shown, self.run_command("--help", "image", "save", configured=False).stdout.decode())
        self.assertIn(b"usage: glance-flows", self.run_command(configured=False, status=2).stderr)

    def test_unknown_commands(self) -> None:
        for words in (("image",), ("imag", "list"), ("del", "x"), ("nonsense",)):
            self.assertIn("there is no command", self.refused(*words, status=2, configured=False))

    def test_no_configuration(self) -> None:
        self.assertIn("quickstart", self.refused("image", "list", configured=False))

    def test_the_configuration_of_a_glance_is_found(self) -> None:
        (self.folder / "home").mkdir()
        self.config.rename(self.folder / "home" / "glance-api.conf")
        self.assertEqual([], self.json("image", "list", configured=False))

    def test_a_configuration_without_a_database(self) -> None:
        self.config.write_text("[DEFAULT]\nscrub_time = 1\n")
        told = self.refused("image", "list")
        self.assertIn("[database] connection", told)
        self.assertIn(str(self.config), told)

    def test_configuration_errors_name_the_option(self) -> None:
        for line, name in (
            ("scrub_time = -1", "scrub_time"),
            ("scrub_pool_size = 0", "scrub_pool_size"),
            ("metadata_encryption_key = short", "metadata_encryption_key"),
            ("enabled_import_methods = [glance-direct, carrier-pidgeon]", "carrier-pidgeon"),
        ):
            self.configure(line)
            self.assertIn(name, self.refused("copy", "x", "--all-stores"))
        self.assertIn("enabled_import_methods", self.refused("method", "list"))
        self.assertIn("missing.conf", self.refused("--config-file", "missing.conf", "image", "list"))

    def test_options_after_the_command(self) -> None:
        words = ("image", "list", "-f", "json", "--config-file", str(self.config))
        self.assertEqual(b"[]\n", self.run_command(*words, configured=False).stdout)

    def test_a_directory_of_configuration(self) -> None:
        self.assertEqual([], self.json("--config-dir", str(self.folder), "image", "list", configured=False))

    def test_debug_shows_the_traceback(self) -> None:
        done = self.run_command("--debug", "image", "show", "nope", status=1)
        self.assertIn(b"Traceback", done.stderr)
        self.assertIn(b"there is no image nope", done.stderr.splitlines()[-1])

    def test_stores_and_folders_are_checked_at_start(self) -> None:
        """D2: by a command that needs no store, too."""
        for old, new, name in (
            ("fast:file", "fast:tape", "enabled_backends: the store fast has the unknown type 'tape'"),
            (f"{self.folder}/staging", "", "[os_glance_staging_store] filesystem_store_datadir is empty"),
            (f"state_path = {self.folder}/state", "state_path =", "[glance_flows] state_path is empty"),
        ):
            self.configure()
            text = self.config.read_text()
            self.assertIn(old, text)
            self.config.write_text(text.replace(old, new))
            self.assertIn(name, self.refused("image", "list"))

    def test_a_list_of_nothing(self) -> None:
        """Nothing is printed for people, and an empty list for programs."""
        for words in (("image", "list"), ("run", "list"), ("pending",)):
            self.assertEqual(b"", self.run_command(*words).stdout)
            self.assertEqual(b"[]\n", self.run_command(*words, "-f", "json").stdout)

    def test_a_uri_that_is_no_parameter(self) -> None:
        words = ("import", "x", "--method", "web-download", "--parameter", "uri=http://127.0.0.1/")
        self.assertIn("give it with --uri", self.refused(*words, status=2, configured=False))

    def test_a_column_that_is_not_there(self) -> None:
        self.assertIn("--column", self.refused("image", "list", "-c", "colour", status=2))

    def test_methods(self) -> None:
        self.configure("enabled_import_methods = [web-download]")
        rows = {row["name"]: row for row in self.json("method", "list")}
        self.assertTrue(rows["web-download"]["enabled"])
        self.assertFalse(rows["glance-direct"]["enabled"])
        self.assertEqual(["uploading"], rows["glance-direct"]["statuses"])
        self.assertTrue(re.fullmatch(r"glance-flows \S+", rows["copy-image"]["distribution"]))
        self.assertTrue(rows["copy-image"]["description"])
        image_id = self.create()
        told = self.refused("image", "upload", image_id, "--file", "-", data=b"x")
        self.assertIn("enabled_import_methods", told)


class WordsTest(cli.CommandTestCase):
    def test_numbers_of_things(self) -> None:
        """S16: one is told as one."""
        self.assertEqual(0, doctest.testmod(scrubbing).failed)
        report = Report(images=1, freed=1, missing=1, failed=1, held=1, seconds=1.0)
        out = self.useFixture(fixtures.StringStream("stdout"))
        with mock.patch("sys.stdout", out.stream):
            scrubbing.tell(report, as_json=False)
        out.stream.flush()
        told = out.getDetails()["stdout"].as_text()
        self.assertIn("1 image scrubbed, 1 byte freed (1 object was gone already) in 1.0 s", told)
        self.assertIn("; 1 failure; 1 image left to other scrubbers", told)


class DatabaseTest(cli.CommandTestCase):
    def test_sync_and_version(self) -> None:
        database = self.folder / "glance.sqlite"
        database.unlink()
        self.assertEqual({"revision": None, "made_by": None}, self.json("db", "version"))
        self.assertIn("db sync", self.refused("image", "list"))
        synced = self.json("db", "sync")
        revision = synced["revision"]
        self.assertTrue(revision)
        self.assertEqual(synced, self.json("db", "sync"))
        self.assertEqual(f"sqlite:///{self.folder}/state/flows.sqlite", synced["flows_state"])
        self.assertEqual({"revision": revision, "made_by": "glance-flows"}, self.json("db", "version"))

    def test_a_database_that_cannot_be_used(self) -> None:
        (self.folder / "glance.sqlite").write_bytes(b"this is no database" * 100)
        for words in (("image", "list"), ("db", "sync"), ("db", "version")):
            self.assertIn("the database could not be used", self.refused(*words))

    def test_a_password_is_not_told(self) -> None:
        text = self.config.read_text()
        away = "mysql+pymysql://user:secret@127.0.0.1:1/glance"
        self.config.write_text(re.sub("connection = .*", f"connection = {away}", text))
        for words in (("image", "list"), ("--debug", "db", "version")):
            done = self.run_command(*words, status=1)
            self.assertNotIn(b"secret", done.stderr)
