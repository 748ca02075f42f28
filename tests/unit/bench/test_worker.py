"""The line between driver and worker."""

import os

import pytest

from gateway.bench.worker import Control


class PipedControl(Control):
    """Reads from a pipe instead of the standard input."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


def test_commands_are_lines_however_they_arrive() -> None:
    read_end, write_end = os.pipe()
    control = PipedControl(read_end)

    os.write(write_end, b'{"do":"a"}\n{"do":')
    assert control.receive() == {"do": "a"}
    os.write(write_end, b'"b"}\n')
    assert control.receive() == {"do": "b"}
    os.close(write_end)

    assert control.receive() is None
    os.close(read_end)


def test_an_answer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Control.reply({"text": "two\nlines"})

    assert capsys.readouterr().out == '{"text": "two\\nlines"}\n'
