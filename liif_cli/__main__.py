"""`liif`, and `python -m liif_cli`, which is the same."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while modules are loaded ends the program and shows no traceback; later `main` sees to it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from liif_cli.cli.app import program

if __name__ == "__main__":
    program()
