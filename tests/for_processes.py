"""Functions that tests call in other processes, which start faster without the tests' imports."""

import os
import signal

from data.system.files import InputError


def square_or_die(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def raise_for_three(number):
    if number == 3:
        raise InputError("the model is broken.")
