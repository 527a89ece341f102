"""`python -m liif_cli` is `liif`."""

import sys

from liif_cli.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
