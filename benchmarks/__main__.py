"""Run every measurement: ``python -m benchmarks``, with the options of :mod:`benchmarks.import_copy`."""

import sys

from benchmarks import import_copy

if __name__ == "__main__":
    sys.exit(import_copy.main())
