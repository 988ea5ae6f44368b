"""``python -m analyses``: run the analyses and print their verdicts."""

import sys

from analyses._command import main

if __name__ == "__main__":
    sys.exit(main())
