"""``python -m benchmarks``: run the benchmarks and print their tables."""

import sys

from benchmarks._command import main

if __name__ == "__main__":
    sys.exit(main())
