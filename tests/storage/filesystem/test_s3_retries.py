"""How often a request is tried again depends on whether the server answers at all."""

import pytest

from storage.filesystem import s3


@pytest.mark.parametrize(("silence", "stops"), [(10, False), (s3._SILENCE - 1, False), (s3._SILENCE + 1, True)])
def test_a_server_that_fell_silent_is_asked_as_few_times_as_one_that_never_answered(silence, stops, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(s3, "monotonic", lambda: now)
    retries, error = s3.Retries(), TimeoutError("no answer")
    with pytest.raises(TimeoutError):
        retries.saw(caught_exception=error, attempts=s3._ATTEMPTS_AT_FIRST)
    retries.saw(response=(type("Answer", (), {"status_code": 200}), None))
    now += silence
    retries.saw(caught_exception=error, attempts=s3._ATTEMPTS_AT_FIRST - 1)
    if stops:
        with pytest.raises(TimeoutError, match="no answer"):
            retries.saw(caught_exception=error, attempts=s3._ATTEMPTS_AT_FIRST)
    else:
        retries.saw(caught_exception=error, attempts=s3._ATTEMPTS_AT_FIRST)
        assert retries.count == 2
