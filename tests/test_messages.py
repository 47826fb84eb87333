"""Messages: printed to stderr whatever the warning filters, and never fatal."""

import io
import sys
import warnings

import pytest

from optimlab.messages import warn


@pytest.mark.parametrize("action", ["error", "ignore", "default"])
def test_a_message_is_no_warning_of_python(capsys, action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        warn("one")
        warn("one")
    assert capsys.readouterr().err == "optimlab: warning: one\n" * 2


class Full(io.StringIO):
    """A stream that a full disk is behind."""

    def write(self, text):
        raise OSError(28, "No space left on device")


class Late(io.StringIO):
    """A stream that takes what is written, and fails as it passes it on."""

    def flush(self):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream", [None, Full(), Late(), closed()], ids=["none", "full", "late", "closed"]
)
def test_a_stream_that_takes_nothing_ends_nothing(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    warn("not heard")
