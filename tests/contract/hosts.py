"""Conductors on hosts that are cut off from one server or the other; mixed with :class:`ConductorCase`."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from glance_flows.flows import copy_image
from tests.contract.conductors import DATA, LEASE, LONGER, ConductorProcess
from tests.contract.network import Network
from tests.contract.redis_server import RedisServer
from tests.contract.scrubbers import Proxy
from tests.contract.worlds import eventually


class Hosts:
    """Two hosts with addresses of their own, and the servers on a third."""

    def make_redis(self: Any, folder: Path) -> RedisServer:
        self.network = self.enterContext(Network())
        return RedisServer(folder, self.network.redis)

    def both(self: Any) -> tuple[ConductorProcess, ConductorProcess]:
        """Start a conductor on each host."""
        url = sa.make_url(self.connection)
        proxy = Proxy(url.host, url.port or 5432, self.network.database)
        self.addCleanup(proxy.close)

        def there(database: str) -> str:
            through = sa.make_url(database).set(host=self.network.database, port=proxy.port)
            return str(through.render_as_string(hide_password=False))

        def started(host: str) -> ConductorProcess:
            own = {"persistence_connection": there(self.persistence)}
            conf = self.conf_of(host, connection=there(self.connection), own=own)
            process: ConductorProcess = self.conduct_gated(host, conf, self.network.host(host))
            return process

        first, second = started("a"), started("b")
        self.ready(first, second)
        return first, second

    def copying(self: Any) -> tuple[str, ConductorProcess, ConductorProcess]:
        """Post a copy that stands in the middle of s3; return its id, who has it, and the other."""
        first, second = self.both()
        self.shut("s3")
        run_id = str(self.runner.post(copy_image(self.world.image(DATA), to=["s2", "s3"])).id)
        self.stands("s3")
        eventually(lambda: self.task(run_id, "upload:s2") == "SUCCESS", "s2 is done")
        having, _ = self.worker(run_id)
        return run_id, having, second if having is first else first

    def copied(self: Any, by: ConductorProcess) -> str:
        """Have a new run done by a conductor; return its id."""
        run_id = str(self.runner.post(copy_image(self.world.image(DATA), to=["s2"])).id)
        self.over(run_id)
        self.assertEqual(by.host, self.worker(run_id)[0].host)
        return run_id

    def free(self: Any, run_id: str) -> bool:
        """Tell whether a run's job is on the board without an owner."""
        return any(job.name == run_id for job in self.services.board.waiting())

    def test_cut_off_from_redis(self: Any) -> None:
        """F5: who has a run says the list of runs: without its board a conductor finishes it, once."""
        run_id, having, other = self.copying()
        before = self.mark(self.record(run_id).image_id, "s2")
        self.network.cut(having.host, self.network.redis)
        eventually(lambda: self.free(run_id), "the claim has run out")
        later = [self.copied(other)]
        self.open("s3")
        self.over(run_id)
        self.assertEqual(having.host, self.worker(run_id)[0].host)
        self.assertEqual(before, self.mark(self.record(run_id).image_id, "s2"))
        self.assertEqual(2, len([each for each in self.happened("image.upload") if each["run"] == run_id]))
        eventually(lambda: run_id not in self.services.board.names(), "the other one takes it off the board")
        self.network.mend(having.host, self.network.redis)
        other.stop()
        self.assertEqual(0, other.end(), other.err)
        later.append(self.copied(having))
        self.assertWhole(run_id, *later)

    def test_cut_off_from_the_database(self: Any) -> None:
        """F5, C25: a conductor without its database lets its run go in time, and spoils nothing that another does."""
        run_id, having, other = self.copying()
        image_id = self.record(run_id).image_id
        begun, before = self.mark(image_id, "s3"), self.mark(image_id, "s2")
        self.network.cut(having.host, self.network.database)
        eventually(
            lambda: self.record(run_id).holder.startswith(f"{other.host}:"), "it is taken over", LEASE + 2 * LONGER
        )
        self.stands("s3")
        self.assertNotEqual(begun[0], self.mark(image_id, "s3")[0])
        self.open("s3")
        self.over(run_id)
        marks = [self.mark(image_id, store) for store in ("s2", "s3")]
        self.assertEqual(before, marks[0])
        having.says(f"Run {run_id} is over here")
        self.network.mend(having.host, self.network.database)
        eventually(lambda: self.shown(having.host), "it is back")
        other.stop()
        self.assertEqual(0, other.end(), other.err)
        later = self.copied(having)
        self.assertEqual(marks, [self.mark(image_id, store) for store in ("s2", "s3")])
        self.assertEqual({run_id, later}, {each["run"] for each in self.happened("image.import.end")})
        self.assertWhole(run_id, later)
