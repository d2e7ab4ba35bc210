"""What is said while something takes long, on a terminal and in a file."""

import io
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

from data.synthetic.faces import make_faces
from data.system import progress
from data.system.progress import follow, progress_bar, say_start_of_keras


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets; a list of one number of seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_in_a_file_tell_how_far_and_how_long(clock, capsys):
    with progress_bar("predicting", 1200) as advance:
        clock[0] += 10  # the first is slow
        advance(200)
        clock[0] += 5
        advance(50)
        clock[0] += 5
        advance(50)
        clock[0] += 90
        advance(900)
    assert capsys.readouterr().out.splitlines() == [
        "predicting: 200 of 1,200",
        "predicting: 300 of 1,200, 1 min 30 s left",
    ]


def test_more_than_was_promised_has_no_time_left(clock, capsys):
    with progress_bar("frames", 20) as advance:
        for count in (10, 11):
            clock[0] += 10
            advance(count)
    assert capsys.readouterr().out.splitlines() == ["frames: 10 of 20", "frames: 21"]


def test_what_is_done_at_once_needs_no_line(clock, capsys):
    assert list(follow(["a", "b"], "photos")) == ["a", "b"]
    with progress_bar("faces") as advance:
        clock[0] += 1
        advance(7)
    assert capsys.readouterr().out == ""


def test_no_gap_is_above_ten_seconds_and_long_runs_say_less(clock, capsys):
    said = []
    with progress_bar("faces") as advance:
        for _ in range(12_000):
            clock[0] += 1
            advance(1)
            said += [clock[0] - 1000] * bool(capsys.readouterr().out)
    gaps = np.diff([0, *said])
    assert gaps[: sum(second < 480 for second in said)].max() <= 10
    assert len(said) < 500 and gaps[-1] > 100


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_that_renews_itself(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("drawing", 40) as advance:
        for _ in range(40):
            advance(1)
    shown = screen.getvalue()
    assert "drawing" in shown and "40/40" in shown and "\x1b[2K" in shown  # erased at the end


@pytest.mark.parametrize("refused", [False, True])
def test_one_bar_within_another_harms_nothing(refused, monkeypatch):
    """rich below 14.1 raises LiveError for a second bar."""
    import rich.progress
    from rich.errors import LiveError

    screen, start, started = Terminal(), rich.progress.Progress.start, []

    def only_one(bar):
        if refused and started:
            raise LiveError("Only one live display may be active at once")
        started.append(bar)
        start(bar)

    monkeypatch.setattr(rich.progress.Progress, "start", only_one)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("files", 2) as advance:
        for _ in range(2):
            assert list(follow("abc", "rows")) == ["a", "b", "c"]
            advance(1)
    assert "files" in screen.getvalue() and "2/2" in screen.getvalue()
    assert len(started) == (1 if refused else 3)


def test_a_terminal_without_rich_gets_plain_lines(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setitem(sys.modules, "rich", None)
    with progress_bar("drawing", 40) as advance:
        clock[0] += 3
        advance(1)
    assert screen.getvalue() == "drawing: 1 of 40\n"


def test_nobody_listens_to_the_other_workers(clock, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with progress_bar("training", 4) as advance:
        clock[0] += 3
        advance(1)


def test_the_start_of_tensorflow_is_said_once(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    say_start_of_keras()  # by whoever imports it: nothing
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", str(ROOT / "model_builder.py"), raising=False
    )
    say_start_of_keras()
    assert capsys.readouterr().out == "Starting Keras ...\n"
    monkeypatch.setitem(sys.modules, "keras", sys)
    say_start_of_keras()
    assert capsys.readouterr().out == ""


def test_drawing_faces_says_how_far_it_is(monkeypatch, capsys):
    seconds = itertools.count(0, 3)
    clock = SimpleNamespace(monotonic=lambda: next(seconds))  # joblib asks the real one
    monkeypatch.setattr(progress, "time", clock)
    alone = make_faces(9, seed=4, workers=1)
    assert "drawing synthetic faces: 4 of 9, 0 min 15 s" in capsys.readouterr().out
    shared = make_faces(9, seed=4, workers=2)
    assert "drawing synthetic faces: 4 of 9, 0 min 15 s" in capsys.readouterr().out
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, other)
