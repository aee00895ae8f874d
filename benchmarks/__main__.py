"""Run the measurements: ``python -m benchmarks``, with the options of :mod:`benchmarks.import_copy`, or of
:mod:`benchmarks.scrub` and :mod:`benchmarks.conductors` after the words ``scrub`` and ``conductors``."""

import sys

from benchmarks import conductors, import_copy, scrub

if __name__ == "__main__":
    if sys.argv[1:2] == ["scrub"]:
        sys.exit(scrub.main(sys.argv[2:]))
    if sys.argv[1:2] == ["conductors"]:
        sys.exit(conductors.main(sys.argv[2:]))
    sys.exit(import_copy.main())
