"""``python -m convmatrix`` is the command ``convmatrix``."""

import sys

from convmatrix.cli import main

if __name__ == "__main__":
    sys.exit(main())
