"""Windows on the wire: exact to half a step of int16, in any script, and refused with a reason when wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streams.broker import Message
from streams.codec import CodecError, Wire, decode_window, encode_window
from streams.records import FLAGS, TOPIC_WINDOWS, AudioWindow

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
windows = st.builds(
    AudioWindow,
    machine=names,
    mic=names,
    session=names,
    sequence=st.integers(0, 2**62),
    start_ns=st.integers(-(2**62), 2**62),
    rate=st.integers(1, 192_000),
    samples=hnp.arrays(np.float32, st.integers(0, 64), elements=st.floats(-1.0, 1.0, width=32)),
    flags=st.frozensets(st.sampled_from(FLAGS)),
    gap_s=st.floats(0.0, 1e9),
)


def as_message(wire: Wire) -> Message:
    return Message(TOPIC_WINDOWS, 0, 0, wire.key, wire.value, wire.headers)


def window(samples: object = (0.0, 0.5, -1.0)) -> AudioWindow:
    return AudioWindow("fan", "mic 1", "s1", 3, 1_000, 16_000, np.asarray(samples, dtype=np.float32))


def spoiled(header: str, value: str | None) -> Message:
    message = as_message(encode_window(window()))
    headers = {**message.headers, header: value or ""}
    if value is None:
        del headers[header]
    return replace(message, headers=headers)


@given(windows)
def test_round_trip(before: AudioWindow) -> None:
    """All fields come back; samples to within half a step, +1.0 to within one."""
    after = decode_window(as_message(encode_window(before)))
    for name in ("identity", "machine", "start_ns", "rate", "flags", "gap_s"):
        assert getattr(after, name) == getattr(before, name)
    step = 1 / 32_768
    wrong = np.abs(after.samples.astype(float) - before.samples)
    assert np.all(wrong <= np.where(before.samples > 1 - step, step, step / 2))
    assert after.samples.dtype == np.float32
    assert not after.samples.flags.writeable


def test_int16_sound_passes_unchanged() -> None:
    """What came from 16-bit files is bit for bit the same after the wire, all 65,536 values."""
    pcm = np.arange(-32_768, 32_768).astype("<i2")
    wire = encode_window(window(pcm / np.float32(32_768)))
    assert wire.value == pcm.tobytes()


def test_the_schema() -> None:
    """The message is what the schema at the top of the codec says, literally."""
    wire = encode_window(replace(window(), flags=frozenset({"late", "gap"}), gap_s=0.25))
    assert wire == Wire(
        "mic 1",
        b"\x00\x00\x00\x40\x00\x80",
        {
            "v": "1",
            "machine": "fan",
            "mic": "mic 1",
            "session": "s1",
            "sequence": "3",
            "start_ns": "1000",
            "rate": "16000",
            "dtype": "<i2",
            "flags": "gap,late",
            "gap_s": "0.25",
        },
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.001, -1.5])
def test_what_the_gate_should_have_refused(value: float) -> None:
    """NaN, infinity and samples beyond full scale are errors at encoding, and the text names the gate."""
    with pytest.raises(CodecError, match=r"samples is .* allowed is finite and within -1.0 to 1.0: let the gate"):
        encode_window(window([0.0, value, 0.0]))


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        ("v", "2", "v is '2', allowed is '1'"),
        ("v", None, "v is None"),
        ("dtype", "float32", "dtype is 'float32', allowed is '<i2'"),
        ("mic", "another", "mic is 'another', allowed is 'mic 1'"),
        ("machine", None, "machine is None"),
        ("session", "", "session is"),
        ("sequence", "1_0", "sequence is '1_0', allowed is a whole number"),
        ("sequence", "-1", "sequence is -1"),
        ("start_ns", "٣", "start_ns is"),
        ("rate", "16000.0", "rate is '16000.0'"),
        ("rate", "0", "rate is 0"),
        ("rate", "9" * 5_000, "rate is"),
        ("flags", "gap,odd", "flags is 'gap,odd', allowed is gap, clipped, silent, late"),
        ("gap_s", "nan", "gap_s is 'nan'"),
        ("gap_s", "-1", "gap_s is"),
        ("gap_s", "soon", "gap_s is 'soon', allowed is a finite number"),
    ],
)
def test_wrong_headers(header: str, value: str | None, words: str) -> None:
    """A header that is missing or wrong is named, with its value."""
    with pytest.raises(CodecError, match=re.escape(words)):
        decode_window(spoiled(header, value))


def test_half_a_sample() -> None:
    """An odd number of bytes is no PCM."""
    message = as_message(encode_window(window()))
    with pytest.raises(CodecError, match="3 bytes"):
        decode_window(replace(message, value=b"abc"))


def test_unknown_headers_are_ignored() -> None:
    """A newer writer may say more."""
    assert decode_window(spoiled("humidity", "40 %")).identity == window().identity


def test_a_name_that_utf8_cannot_carry() -> None:
    """A file name with stray bytes, used as a session, is refused where it enters."""
    with pytest.raises(CodecError, match="session is"):
        encode_window(replace(window(), session="take\udcff"))


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8)), st.binary(max_size=40), st.text(max_size=8))
def test_rubbish_is_a_codec_error(headers: dict[str, str], value: bytes, key: str) -> None:
    """Whatever lies in the topic, reading it raises CodecError and nothing else."""
    with pytest.raises(CodecError):
        decode_window(Message(TOPIC_WINDOWS, 0, 0, key, value, headers))
