"""`python -m meshreg` is the `meshreg` command."""

import sys

from meshreg.cli import main

if __name__ == "__main__":
    sys.exit(main())
