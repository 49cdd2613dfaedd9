"""One place for the lines of all jobs, with a bar on terminals alone."""

from io import StringIO

from medimg.training.sweep_display import Display


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def show(stream: StringIO, *, labelled: bool) -> str:
    display = Display(3, labelled=labelled, stream=stream)
    display.started(0, "seed=0")
    display.started(1, "seed=1")
    display.line(1, "epoch 0")
    display.ended(0, failed=True)
    display.close()
    return stream.getvalue()


def test_off_a_terminal_there_are_lines_alone() -> None:
    assert show(StringIO(), labelled=True).splitlines() == ["job 1 of 3: seed=0", "job 2 of 3: seed=1", "[2] epoch 0"]


def test_of_a_search_nobody_knows_how_many_there_will_be() -> None:
    stream = StringIO()
    Display(2, labelled=False, more=True, stream=stream).started(4, "lr=0.1")
    assert stream.getvalue() == "job 5: lr=0.1\n"


def test_a_single_job_needs_no_label() -> None:
    assert "\nepoch 0\n" in show(StringIO(), labelled=False)


def test_on_a_terminal_a_bar_says_what_is_done_what_failed_and_what_runs() -> None:
    said = show(Terminal(), labelled=True)
    assert "[2] epoch 0" in said
    last = [part for part in said.split("\r") if "job" in part and "/3" in part][-1]
    assert "1/3" in last
    assert "running 2; 1 failed" in last
