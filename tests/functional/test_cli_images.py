"""Images from the command line: create, list, show, upload, stage, save, delete."""

import csv
import hashlib
import io
import os
import uuid

from tests.functional import cli

DATA = os.urandom(300_000)


class RecordTest(cli.CommandTestCase):
    def test_create_and_show(self) -> None:
        image_id = str(uuid.uuid4())
        formats = ("--disk-format", "qcow2", "--container-format", "bare")
        more = ("--owner", "p1", "--visibility", "private", "--protected", "--property", "os_type=linux")
        tags = ("--property", "note=a=b", "--tag", "one", "--tag", "two", "--tag", "one")
        made = self.json("image", "create", "--id", image_id, "--name", "disk 😀", *formats, *more, *tags)
        self.assertEqual(image_id, made["id"])
        self.assertEqual("disk 😀", made["name"])
        self.assertEqual("queued", made["status"])
        self.assertEqual(("p1", "private", True), (made["owner"], made["visibility"], made["protected"]))
        self.assertEqual({"os_type": "linux", "note": "a=b"}, made["properties"])
        self.assertEqual(["one", "two"], made["tags"])
        self.assertEqual(made, self.json("image", "show", image_id))
        self.assertIn("disk 😀", self.run_command("image", "show", image_id).stdout.decode())

    def test_a_name_that_the_terminal_cannot_show(self) -> None:
        image_id = self.create("disk 😀\x1b[2J")
        shown = self.run_command("image", "show", image_id, LC_ALL="en_US.ISO-8859-1", PYTHONIOENCODING="latin-1")
        self.assertIn(b"disk \\U0001f600\\x1b[2J", shown.stdout)

    def test_list_in_pages(self) -> None:
        ids = sorted(self.create(f"i{number}", "--owner", f"p{number % 2}") for number in range(3))
        listed = self.json("image", "list")
        self.assertEqual(ids, [row["id"] for row in listed])
        self.assertEqual(ids[:2], [row["id"] for row in self.json("image", "list", "--limit", "2")])
        self.assertEqual(ids[2:], [row["id"] for row in self.json("image", "list", "--marker", ids[1])])
        self.assertEqual(1, len(self.json("image", "list", "--owner", "p1")))
        self.assertEqual([], self.json("image", "list", "--status", "active"))
        printed = self.run_command("image", "list", "-f", "csv", "-c", "name").stdout.decode()
        rows = list(csv.DictReader(io.StringIO(printed)))
        self.assertEqual(["i0", "i1", "i2"], sorted(row["name"] for row in rows))

    def test_what_create_refuses(self) -> None:
        formats = ("--disk-format", "raw", "--container-format", "bare")
        for wrong, word in (
            (("--name", "x" * 256, *formats), "255"),
            (("--name", "x", *formats, "--id", "../../etc"), "UUID"),
            (("--name", "x", *formats, "--property", "novalue"), "KEY=VALUE"),
            (("--name", "x", *formats, "--min-disk", "-1"), "--min-disk"),
        ):
            self.assertIn(word, self.refused("image", "create", *wrong, status=2))
        for name in ("os_glance_import_task", "status"):
            told = self.refused("image", "create", "--name", "x", *formats, "--property", f"{name}=1")
            self.assertIn(name, told)
        told = self.refused("image", "create", "--name", "x", "--disk-format", "floppy", "--container-format", "bare")
        self.assertIn("--disk-format floppy", told)
        self.assertEqual([], self.json("image", "list"))

    def test_the_operators_own_formats(self) -> None:
        """The formats that an image may have are the operator's to say (D2)."""
        self.config.write_text(self.config.read_text() + "\n[image_format]\ndisk_formats = raw,floppy\n")
        self.run_command("image", "create", "--name", "x", "--disk-format", "floppy", "--container-format", "bare")
        told = self.refused("image", "create", "--name", "x", "--disk-format", "qcow2", "--container-format", "bare")
        self.assertIn("raw, floppy", told)

    def test_an_image_that_is_not_there(self) -> None:
        save = ("image", "save", "nope", "--file", "x")
        for words in (("image", "show", "nope"), save, ("copy", "nope", "--all-stores")):
            self.assertIn("there is no image nope", self.refused(*words))


class DataTest(cli.CommandTestCase):
    def test_upload_and_save(self) -> None:
        image_id = self.create()
        source = self.folder / "disk.raw"
        source.write_bytes(DATA)
        words = ("--file", str(source), "--store", "fast", "--store", "remote")
        done = self.json("image", "upload", image_id, *words)
        self.assertEqual("active", done["status"])
        self.assertEqual(["fast", "remote"], sorted(done["stores"]))
        self.assertEqual(hashlib.sha512(DATA).hexdigest(), done["os_hash_value"])
        self.assertEqual([], self.held("staging"))
        shown = self.json("image", "show", image_id)
        self.assertEqual("success", shown["tasks"][0]["status"])
        self.assertEqual(done["run"], shown["tasks"][0]["id"])
        saved = self.json("image", "save", image_id, "--file", "saved.raw")
        self.assertEqual(done["os_hash_value"], saved["os_hash_value"])
        self.assertEqual(DATA, (self.folder / "saved.raw").read_bytes())

    def test_standard_streams(self) -> None:
        image_id = self.create()
        self.run_command("image", "upload", image_id, "--file", "-", data=DATA)
        self.assertEqual(DATA, self.run_command("image", "save", image_id, "--file", "-").stdout)

    def test_stage_then_import(self) -> None:
        image_id = self.create()
        staged = self.json("image", "stage", image_id, "--file", "-", data=DATA)
        self.assertEqual(("uploading", len(DATA)), (staged["status"], staged["size"]))
        self.assertEqual([image_id], self.held("staging"))
        done = self.json("import", image_id, "--method", "glance-direct", "--all-stores")
        self.assertEqual(sorted(cli.STORES), sorted(done["stores"]))

    def test_a_saved_file_is_not_replaced_unasked(self) -> None:
        image_id = self.uploaded(DATA)
        (self.folder / "there").write_text("mine")
        self.assertIn("--force", self.refused("image", "save", image_id, "--file", "there"))
        self.assertEqual("mine", (self.folder / "there").read_text())
        self.run_command("image", "save", image_id, "--file", "there", "--force")
        self.assertEqual(DATA, (self.folder / "there").read_bytes())
        self.assertIn("no regular file", self.refused("image", "save", image_id, "--file", "/dev/null", "--force"))

    def test_a_damaged_copy_is_passed_over(self) -> None:
        image_id = self.uploaded(DATA, "fast", "archive")
        (self.folder / "fast" / image_id).write_bytes(DATA[::-1])
        self.run_command("image", "save", image_id, "--file", "saved")
        self.assertEqual(DATA, (self.folder / "saved").read_bytes())

    def test_no_good_copy_leaves_no_file(self) -> None:
        image_id = self.uploaded(DATA)
        (self.folder / "fast" / image_id).write_bytes(DATA[::-1])
        before = sorted(os.listdir(self.folder))
        done = self.run_command("image", "save", image_id, "--file", "saved", status=1)
        self.assertIn(b"no store has a readable copy", done.stderr)
        self.assertEqual(before, sorted(os.listdir(self.folder)))

    def test_a_full_disk_is_not_blamed_on_the_store(self) -> None:
        image_id = self.uploaded(DATA)
        words = ("-q", "image", "save", image_id, "--file", "-")
        with open("/dev/full", "wb") as full, self.started(*words, stdout=full) as process:
            _, errors = process.communicate(timeout=cli.SECONDS)
        self.assertEqual(1, process.returncode)
        told = "glance-flows: cannot write standard output: No space left on device.\n"
        self.assertEqual(told, errors.decode())

    def test_a_reader_that_goes_away(self) -> None:
        image_id = self.uploaded(DATA)
        for words in (("image", "save", image_id, "--file", "-"), ("image", "show", image_id)):
            reading, writing = os.pipe()
            os.close(reading)
            with self.started("-q", *words, stdout=writing) as process:
                os.close(writing)
                _, errors = process.communicate(timeout=cli.SECONDS)
            self.assertEqual((141, b""), (process.returncode, errors))

    def test_an_upload_that_cannot_work_stages_nothing(self) -> None:
        image_id = self.create()
        told = self.refused("image", "upload", image_id, "--file", "-", "--store", "tape", data=DATA)
        self.assertIn("tape", told)
        self.assertIn("cannot read nowhere", self.refused("image", "upload", image_id, "--file", "nowhere"))
        self.assertIn("directory", self.refused("image", "upload", image_id, "--file", str(self.folder)))
        self.assertEqual("queued", self.json("image", "show", image_id)["status"])
        self.assertEqual([], self.held("staging"))

    def test_data_of_another_format(self) -> None:
        formats = ("--disk-format", "qcow2", "--container-format", "bare")
        image_id = self.json("image", "create", "--name", "x", *formats)["id"]
        done = self.run_command("image", "upload", image_id, "--file", "-", data=bytes(100_000), status=1)
        self.assertIn(b"refused", done.stderr)
        self.assertEqual("queued", self.json("image", "show", image_id)["status"])


class DeleteTest(cli.CommandTestCase):
    def test_now_and_delayed(self) -> None:
        ids = [self.uploaded(DATA) for _ in range(3)]
        rows = self.json("delete", ids[0], ids[0])
        self.assertEqual([{"id": ids[0], "status": "deleted", "message": ""}], rows)
        self.assertEqual(sorted(ids[1:]), self.held("fast"))
        self.assertEqual("pending_delete", self.json("delete", "--delayed", ids[1])[0]["status"])
        self.configure("delayed_delete = true")
        self.assertEqual("deleted", self.json("delete", "--now", ids[2])[0]["status"])
        self.assertEqual([ids[1]], self.held("fast"))
        self.assertEqual([ids[1]], [row["id"] for row in self.json("image", "list", "--status", "pending_delete")])

    def test_one_that_fails_does_not_keep_the_next(self) -> None:
        protected, plain = self.create("a", "--protected"), self.create("b")
        done = self.run_command("delete", "nope", protected, plain, "-f", "value", "-c", "status", status=1)
        self.assertEqual(["failed", "failed", "deleted"], done.stdout.decode().split())
        told = done.stderr.decode().splitlines()
        self.assertIn("there is no image nope", told[0])
        self.assertIn("protected", told[1])
