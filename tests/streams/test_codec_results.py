"""Scores, alerts and dead letters on the wire."""

import dataclasses
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import codec
from streams.broker import MAX_MESSAGE_BYTES, Message
from streams.codec import CodecError, decode_alert, decode_dead, decode_score, encode_alert, encode_dead, encode_score
from streams.dead import DeadLetter, dead_letter
from streams.records import FLAGS, LEVELS, STATUSES, Alert, WindowScore

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(bool)
whole = st.integers(-(2**62), 2**62)
numbers = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def scores(draw: st.DrawFn) -> WindowScore:
    status = draw(st.sampled_from(STATUSES))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return WindowScore(
        machine=draw(names),
        mic=draw(names),
        session=draw(names),
        sequence=draw(st.integers(0, 2**62)),
        start_ns=draw(whole),
        duration_s=draw(st.floats(0.0, 1e6)),
        status=status,
        score=draw(finite if status == "ok" else numbers),
        extrapolated=draw(st.booleans()),
        path=draw(texts),
        detector=draw(texts),
        model=draw(texts),
        flags=draw(st.frozensets(st.sampled_from(FLAGS))),
        level_dbfs=draw(numbers),
        band_hz=draw(st.tuples(numbers, numbers)),
        band_db=draw(numbers),
        profile_db=draw(st.lists(numbers, max_size=4).map(tuple)),
        reason=draw(texts),
        stage_seconds=draw(st.dictionaries(texts, numbers, max_size=4)),
        scored_ns=draw(whole),
    )


alerts = st.builds(
    Alert,
    alert_id=names,
    machine=names,
    level=st.sampled_from(LEVELS),
    opened_ns=whole,
    updated_ns=whole,
    closed_ns=whole,
    peak_score=numbers,
    mics=st.lists(names, max_size=4).map(tuple),
    cause=texts,
    machines=st.lists(names, max_size=4).map(tuple),
    reason=texts,
    clip=texts,
)
letters = st.builds(
    DeadLetter,
    reason=st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True),
    detail=texts,
    at_ns=whole,
    topic=texts,
    partition=st.integers(-1, 4096),
    offset=st.integers(-1, 2**62),
    source=texts,
    key=texts,
    headers=st.dictionaries(texts, texts, max_size=4),
    value=st.binary(max_size=200),
)


def as_message(wire: tuple[str, bytes]) -> Message:
    return Message("topic", 0, 0, *wire)


def same(one: object, other: object) -> bool:
    """Equal, field by field, where NaN equals NaN."""
    return repr(dataclasses.asdict(one)) == repr(dataclasses.asdict(other))  # type: ignore[call-overload]  # records


@given(scores())
def test_scores_round_trip(before: WindowScore) -> None:
    """Every field of a score comes back, NaN and infinities as well."""
    after = decode_score(as_message(encode_score(before)))
    assert after.flags == before.flags
    assert same(replace(after, flags=frozenset()), replace(before, flags=frozenset()))


@given(alerts)
def test_alerts_round_trip(before: Alert) -> None:
    """Every field of an alert comes back."""
    assert same(decode_alert(as_message(encode_alert(before))), before)


@given(letters)
def test_dead_letters_round_trip(before: DeadLetter) -> None:
    """Every field of a dead letter comes back, the value byte for byte."""
    assert same(decode_dead(as_message(encode_dead(before))), before)


@pytest.mark.parametrize(
    ("record", "table"), [(WindowScore, codec._SCORE), (Alert, codec._ALERT), (DeadLetter, codec._DEAD)]
)
def test_the_tables_have_every_field(record: type, table: dict[str, object]) -> None:
    """A field added to a record and forgotten on the wire is an error here."""
    assert set(table) == {field.name for field in dataclasses.fields(record)}


def score() -> WindowScore:
    return WindowScore("送風機", "mic", "s", 1, 2, 2.0, "warming_up", level_dbfs=-math.inf)


def changed(**fields: object) -> Message:
    key, value = encode_score(score())
    return as_message((key, json.dumps({**json.loads(value), **fields}).encode()))


def test_it_is_plain_json() -> None:
    """Any JSON reader can read it: NaN is null, an infinity a text, names are UTF-8."""
    key, value = encode_score(score())

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    document = json.loads(value, parse_constant=refuse)
    assert (key, document["v"], document["score"], document["level_dbfs"]) == ("送風機", 1, None, "-inf")
    assert "送風機".encode() in value


def test_unknown_fields_are_ignored_and_absent_ones_have_their_default() -> None:
    """A newer writer may say more, an older one less."""
    assert decode_score(changed(humidity={"a": [1]})).machine == "送風機"
    document = json.loads(encode_score(score())[1])
    del document["band_db"]
    assert decode_score(as_message(("m", json.dumps(document).encode()))).band_db == 0.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"v": 2}, "v is 2, allowed is 1: update"),
        ({"v": True}, "v is True"),
        ({"v": None}, "v is None"),
        ({"sequence": 1.5}, "sequence is 1.5, allowed is a whole number"),
        ({"sequence": True}, "sequence is True"),
        ({"score": "high"}, "score is 'high', allowed is a number"),
        ({"score": True}, "score is True"),
        ({"status": "fine"}, "status is 'fine'"),
        ({"status": "ok"}, "finite when status is ok"),
        ({"machine": None}, "machine is None, allowed is text"),
        ({"flags": "gap"}, "flags is 'gap', allowed is a list"),
        ({"flags": [[]]}, "flags is"),
        ({"band_hz": [1, 2, 3]}, "band_hz is"),
        ({"stage_seconds": [1]}, "stage_seconds is"),
        ({"extrapolated": 0}, "extrapolated is 0, allowed is true or false"),
        ({"duration_s": 10**400}, "duration_s is"),
    ],
)
def test_wrong_fields(fields: dict[str, object], words: str) -> None:
    """A field of the wrong kind is named, with its value and what is allowed."""
    with pytest.raises(CodecError) as caught:
        decode_score(changed(**fields))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "value", [b"", b"\xff", b"[]", b"{", b"null", b'{"v": 1}', b'{"v": 1e999}', b"[" * 200_000, b"9" * 10_000]
)
@pytest.mark.parametrize("decode", [decode_score, decode_alert, decode_dead])
def test_rubbish_is_a_codec_error(decode: object, value: bytes) -> None:
    """Whatever lies in the topic, reading it raises CodecError and nothing else."""
    with pytest.raises(CodecError):
        decode(Message("topic", 0, 0, "k", value))  # type: ignore[operator]  # one of three functions


def test_bad_base64() -> None:
    """A damaged value of a dead letter is named."""
    key, value = encode_dead(DeadLetter("bad_message", "", 1, value=b"abc"))
    with pytest.raises(CodecError, match="value is 'YWJ!'"):
        decode_dead(as_message((key, value.replace(b"YWJj", b"YWJ!"))))


def test_a_dead_letter_always_fits() -> None:
    """The letter of the largest message is under the limit: without the value first, without headers if it must."""
    huge = Message("audio.windows", 3, 7, "mic", bytes(MAX_MESSAGE_BYTES - 100), {"machine": "fan"})
    letter = decode_dead(as_message(encode_dead(dead_letter(huge, "process_failed", "why", 1))))
    assert (letter.value, letter.topic, letter.partition, letter.offset) == (b"", "audio.windows", 3, 7)
    assert "4194204 bytes are not kept here" in letter.detail
    stuffed = replace(huge, value=b"x", headers={"machine": "fan" * 10**6, "b": "c" * 10**6})
    key, value = encode_dead(dead_letter(stuffed, "process_failed", "why", 1))
    assert len(key) <= 200
    assert len(value) < MAX_MESSAGE_BYTES
    assert decode_dead(as_message((key, value))).offset == 7


def test_a_dead_letter_of_a_file_with_stray_bytes_in_its_name() -> None:
    """A name that is no Unicode stays readable and cannot stop the letter."""
    letter = decode_dead(
        as_message(encode_dead(DeadLetter("bad_file", "no sound in a\udcff", 1, source="a\udcff.wav")))
    )
    assert letter.source == "a\\udcff.wav"


def test_reasons_are_codes() -> None:
    """A reason becomes the label of a metric: words for people go into the detail."""
    with pytest.raises(ValueError, match="reason is 'Too large!'"):
        DeadLetter("Too large!", "", 1)
