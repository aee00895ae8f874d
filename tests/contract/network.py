"""Hosts with addresses of their own: namespaces of the network on one bridge, whose ways to a server can be cut."""

import os
import shutil
import subprocess
import unittest
import uuid
from typing import Self


class Network:
    """A bridge with two addresses, one for each server, and any number of hosts on it.

    :ivar redis: address for one server
    :ivar database: address for the other
    """

    def __init__(self) -> None:
        tag = uuid.uuid4()
        self._tag = f"gf{tag.hex[:6]}"
        # Some network of its own among the private ones: other tests may be under way.
        self._net = f"10.{tag.bytes[8] or 1}.{tag.bytes[9]}"
        self.redis, self.database = f"{self._net}.253", f"{self._net}.254"
        self._hosts: list[str] = []

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise unittest.SkipTest("namespaces of the network need root, and the program ip of iproute2")
        try:
            _ip("link", "add", self._tag, "type", "bridge")
        except subprocess.CalledProcessError as failure:
            raise unittest.SkipTest(f"no bridge can be made here: {failure.stderr.strip()}") from failure
        for address in (self.redis, self.database):
            _ip("addr", "add", f"{address}/24", "dev", self._tag)
        _ip("link", "set", self._tag, "up")
        return self

    def __exit__(self, *exc: object) -> None:
        for host in self._hosts:
            subprocess.run(["ip", "netns", "del", self._space(host)], capture_output=True)
        subprocess.run(["ip", "link", "del", self._tag], capture_output=True)

    def host(self, name: str) -> tuple[str, ...]:
        """Make a host; return the words that run a command on it.

        :raises unittest.SkipTest: no namespaces can be made here
        """
        space, near, far = self._space(name), f"{self._tag}{name}", f"{self._tag}{name}x"
        try:
            _ip("netns", "add", space)
        except subprocess.CalledProcessError as failure:
            raise unittest.SkipTest(f"no namespace can be made here: {failure.stderr.strip()}") from failure
        self._hosts.append(name)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        _ip("link", "set", near, "master", self._tag, "up")
        _ip("-n", space, "addr", "add", f"{self._net}.{len(self._hosts)}/24", "dev", far)
        _ip("-n", space, "link", "set", far, "up")
        _ip("-n", space, "link", "set", "lo", "up")
        return "ip", "netns", "exec", space

    def cut(self, name: str, address: str) -> None:
        """Have everything that a host sends to an address vanish."""
        _ip("-n", self._space(name), "route", "add", "blackhole", f"{address}/32")

    def mend(self, name: str, address: str) -> None:
        """Let it through again."""
        _ip("-n", self._space(name), "route", "del", "blackhole", f"{address}/32")

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
