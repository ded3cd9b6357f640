"""The program ``trigate``."""

import os
import signal


def main() -> None:
    """Run the command line. Ctrl-C ends the process without a traceback, also while the command line is imported."""
    if os.getpid() == 1:  # in a container, where the kernel drops every signal without a handler
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    # A shell's `&` makes processes ignore it.
    heeds_ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds_ctrl_c:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gateway.__main__ import main as run  # which takes most of the start-up time

    if heeds_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run(prog_name="trigate")
