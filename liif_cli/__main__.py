"""`python -m liif_cli` is `liif`."""

from liif_cli.cli.app import program

if __name__ == "__main__":
    program()
