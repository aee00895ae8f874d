"""The tests.

A runner that was itself started in the background may ignore signals, and what ignores a signal hands that on to the
processes it starts. The tests send signals to real processes, so they begin with the usual dispositions.
"""

import signal
import threading

from tests.base import warnings_are_errors


def _usual_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


# Before any test module imports the library, so that what it does on import is held to the same rule.
warnings_are_errors()
if threading.current_thread() is threading.main_thread():
    _usual_signals()
