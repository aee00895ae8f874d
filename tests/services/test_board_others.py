"""The jobboard on ZooKeeper and etcd, where ``GLANCE_FLOWS_TEST_ZOOKEEPER`` and ``…_ETCD`` name such servers."""

import os
import unittest

from tests.contract.boards import BoardCase, BoardContract

ZOOKEEPER = os.environ.get("GLANCE_FLOWS_TEST_ZOOKEEPER", "")
ETCD = os.environ.get("GLANCE_FLOWS_TEST_ETCD", "")


@unittest.skipUnless(ZOOKEEPER, "no ZooKeeper is named")
class TestZookeeper(BoardContract, BoardCase):
    """F5."""

    url = ZOOKEEPER

    def forget_claims(self) -> None:
        self.there.close()


@unittest.skipUnless(ETCD, "no etcd is named")
class TestEtcd(BoardContract, BoardCase):
    """F5."""

    url = ETCD
