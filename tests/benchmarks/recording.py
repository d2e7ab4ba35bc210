"""What a user sees of a command, each line with the seconds since the start, and how long it took.

    python tests/benchmarks/recording.py -- python model_builder.py > recording.txt

Last: the longest silence, the wall time, and the processor time of all processes together.
"""

import os
import resource
import subprocess
import sys
import time

import common

from data.system.command_line import run_script
from data.system.files import InputError


def parse_arguments(argv):
    """The command line as an argparse namespace."""
    parser = common.parser("Record what a command prints, and when.")
    parser.add_argument("command", nargs="+", help="after --: what to run")
    return parser.parse_args(argv)


def lines_of(stream):
    """Yield the lines written to a pipe, each as soon as it is complete."""
    rest = b""
    while piece := os.read(stream.fileno(), 65536):
        *lines, rest = (rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        yield from lines
    if rest:
        yield rest


def run(arguments):
    """Run the command, print its output with times, and sum up."""
    started = heard = time.monotonic()
    silence, after = 0.0, ""
    try:
        process = subprocess.Popen(
            arguments.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise InputError(f"{arguments.command[0]} cannot be run ({error.strerror}).") from None
    last = "the start"
    for line in lines_of(process.stdout):
        now = time.monotonic()
        if now - heard > silence:
            silence, after = now - heard, last
        heard, last = now, line.decode(errors="replace").strip()
        if last:
            print(f"{now - started:6.1f}  {last}", flush=True)
    status = process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\nstatus {status}; {time.monotonic() - started:.0f} s, processor"
        f" {used.ru_utime + used.ru_stime:.0f} s; longest silence {silence:.1f} s, after: {after}"
    )


if __name__ == "__main__":
    sys.exit(run_script(None, parse_arguments, run))
