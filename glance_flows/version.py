"""The version of the library: a run remembers which one began it."""

VERSION = "0.1.0"
