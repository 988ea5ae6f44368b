"""``python -m paper``: typeset the paper from the results of the analyses."""

import sys

from paper._command import main

if __name__ == "__main__":
    sys.exit(main())
