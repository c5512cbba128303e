"""The life of a stream: each state by what is seen, and no other way into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.derived.stream_state import ENDED_S, UNKNOWN_S, Observation, StreamState
from common.stream_states import CRASHED, CUT_OFF, ENDED, ENDING, IDLE, LIVE, STARTING, STOPPED

LOOK_S = 1.0


def play(*looks: Observation) -> tuple[list[int], StreamState]:
    """Return the state after each look, a second apart, and the stream."""
    stream, states = StreamState(), []
    for at, seen in enumerate(looks):
        stream.look(seen, 100 + LOOK_S * at)
        states.append(stream.state)
    return states, stream


def up(pid: int = 7, *, connected: bool | None = None, frames: bool | None = None, tapped: bool = False) -> Observation:
    """Return encoder and sender running."""
    return Observation(pid, sender=True, connected=connected, frames=frames, tapped=tapped)


NOTHING, SENDER = Observation(None, sender=False), Observation(None, sender=True)


def test_from_start_to_stop() -> None:
    """Nothing is live before the receiver answers; a stop ends it at once."""
    looks = (NOTHING, up(), up(connected=False), up(connected=True), up(connected=False), NOTHING, NOTHING)
    states, stream = play(*looks)
    assert [IDLE, STARTING, STARTING, LIVE, LIVE, ENDED, ENDED] == states
    assert STOPPED == stream.how


def test_frames_alone_are_not_live_where_the_packets_will_tell() -> None:
    """A restarted encoder gives frames before the receiver has answered it."""
    assert [STARTING, LIVE] == play(up(), up(frames=True))[0]
    assert [STARTING, STARTING, LIVE] == play(*[up(frames=True, tapped=True)] * 2, up(connected=True))[0]


@pytest.mark.parametrize(("connected", "how"), [(True, CRASHED), (False, CUT_OFF), (None, CRASHED)])
def test_an_encoder_that_stays_away(connected: bool | None, how: str) -> None:
    """It is ending for as long as it may come back, then ended, and how is said."""
    looks = [up(), up(connected=True), up(connected=connected), *[SENDER] * (int(ENDED_S) + 1)]
    states, stream = play(*looks)
    assert [STARTING, LIVE, LIVE, *[ENDING] * int(ENDED_S), ENDED] == states
    assert how == stream.how


def test_a_restart_has_to_come_up_again() -> None:
    """It is the same stream, and not live before the receiver answers again."""
    states, stream = play(up(), up(connected=True), SENDER, up(8), up(8, connected=True))
    assert [STARTING, LIVE, ENDING, STARTING, LIVE] == states
    assert 1 == stream.restarts


def test_a_restart_between_two_looks_is_one() -> None:
    """Its pid tells."""
    states, stream = play(up(), up(connected=True), up(8, connected=True), up(8, connected=True))
    assert [STARTING, LIVE, STARTING, LIVE] == states
    assert 1 == stream.restarts


def test_where_nobody_tells_of_the_connection_frames_do() -> None:
    """And where nobody tells of them either, time does."""
    assert [STARTING, LIVE] == play(up(), up(frames=True))[0]
    assert [STARTING, STARTING] == play(up(), up(frames=False))[0]
    assert [*[STARTING] * int(UNKNOWN_S), LIVE] == play(*[up()] * (int(UNKNOWN_S) + 1))[0]


def test_another_stream_starts_from_nothing() -> None:
    """How the last one ended is not said of this one, and its restarts are its own."""
    _, stream = play(up(), up(8), NOTHING, up(9))
    assert (STARTING, "", 0) == (stream.state, stream.how, stream.restarts)


seen = st.builds(
    Observation,
    st.sampled_from([None, None, 7, 8]),
    st.booleans(),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, True, False]),
)


@given(st.lists(seen, max_size=60))
def test_whatever_is_seen(looks: list[Observation]) -> None:
    """Live needs an encoder, an end needs a beginning, and only an ended stream says how it ended."""
    stream = StreamState()
    for at, one in enumerate(looks):
        before = stream.state
        stream.look(one, float(at))
        assert one.encoder is not None or stream.state not in {STARTING, LIVE}
        assert stream.state != ENDED or before in {STARTING, LIVE, ENDING, ENDED}
        assert (stream.how != "") == (stream.state == ENDED)
        assert stream.state != LIVE or before in {STARTING, LIVE}
