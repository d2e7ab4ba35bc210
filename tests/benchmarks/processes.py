"""Measuring in fresh processes: time, memory, and what they print and when."""

import multiprocessing
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """What a process printed, and its age and processor time in seconds then."""

    text: str
    seconds: float
    processor: float


class Outcome(NamedTuple):
    """A finished process: its lines, seconds, processor seconds and peak resident memory, which
    is never less than what this process had when it started that one."""

    lines: list
    seconds: float
    processor: float
    megabytes: float


def processor_seconds(stat):
    """User and system time in seconds, from the text of /proc/<pid>/stat."""
    fields = stat.rpartition(")")[2].split()  # the name before may contain blanks
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_timed(*command):
    """Run a Python script with these arguments; an error there ends this script."""
    command = [sys.executable, "-u", *map(str, command)]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for text in process.stdout:
        spent = processor_seconds(Path(f"/proc/{process.pid}/stat").read_text())
        lines.append(Line(text.rstrip(), time.monotonic() - started, spent))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit("\n".join(line.text for line in lines[-5:]))
    processor = usage.ru_utime + usage.ru_stime
    return Outcome(lines, time.monotonic() - started, processor, usage.ru_maxrss / 1024)


def in_fresh_process(function, *arguments):
    """Call a function of this module in a fresh process, where TensorFlow starts anew."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def use_cores(count):
    """Keep this process to that many of its cores; TensorFlow then starts as many threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Work(NamedTuple):
    """What this process did between two moments, in all threads, and its peak memory so far."""

    seconds: float
    user: float  # processor seconds in the program itself
    system: float  # and in the kernel
    page_faults: int  # pages of memory that the kernel had to map, and mostly to clear
    megabytes: float


def work_of(function):
    """Call a function and return the Work."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    function()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Work(
        time.monotonic() - started,
        after.ru_utime - before.ru_utime,
        after.ru_stime - before.ru_stime,
        after.ru_minflt - before.ru_minflt,
        after.ru_maxrss / 1024,
    )
