import pytest

from medimg.commands.evaluate import main
from medimg.errors import RequestError


def test_help_names_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "checkpoint" in capsys.readouterr().out


def test_a_run_is_needed() -> None:
    with pytest.raises(RequestError, match=r"run=\.\.\. is needed"):
        main([])
