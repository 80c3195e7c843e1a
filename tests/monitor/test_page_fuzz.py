"""Whatever is sent to the page, it answers: never an error of its own, never a file that is not its to give."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pagescene import ADMIN, NAMES, OPERATE, VIEW, Scene, make_plant

GETS = ("/", "/machines/press-3", "/alarms", "/mics", "/listen", "/system", "/login", "/api/state", "/metrics")
FILES = ("/clips/", "/healthy/", "/listen/", "/static/", "/machines/", "/-/")
POSTS = ("/login", "/logout", "/acknowledge", "/shelve", "/unshelve", "/judge", "/rebaseline", "/vote")
NAMES_OF_FIELDS = ("alarm", "machine", "comment", "hours", "verdict", "fault", "why", "trial", "choice", "who", "next")
SECRET = "nobody may read this"
CANARIES = (SECRET.encode(), ADMIN.encode(), OPERATE.encode(), VIEW.encode(), b"root:x:", b"SQLite format")
KINDS = (
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-7",
    "application/x-www-form-urlencoded; charset=nonsense",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/json",
    "text/plain",
    "",
    "\x80/;;;",
)

words = st.text(max_size=40)
ascii_words = st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40)
climbs = st.sampled_from(
    ("..", "%2e%2e", "..%2f..%2f", "%00", "....//", "\\..\\", "%c0%ae%c0%ae", "secret.flac", "%5c..")
)
pieces = st.one_of(climbs, words.map(lambda text: quote(text, safe="", errors="replace")), st.just("secret"))
queries = st.dictionaries(st.sampled_from(("lang", "span", "alarm", "before", "next", "wall", "x")), words, max_size=4)
FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("fuzz")
    made = Scene(make_plant(folder, names=NAMES[:2], days=0.1, requests_per_s=0))
    for place in (folder, folder / "data", folder / "data" / "evidence", folder / "data" / "evidence" / "clips"):
        (place / "secret.flac").write_text(SECRET)
    yield made
    made.close()


def send(
    scene: Scene, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b""
) -> tuple[int, bytes]:
    """A request as raw bytes, since a well-bred client would not send half of these; status 0: no HTTP came back."""
    host, _, port = scene.url.removeprefix("http://").partition(":")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    raw = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(raw)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/") else b"0"
    return int(status), answer


def check(scene: Scene, status: int, answer: bytes) -> None:
    assert status < 500 or status == 503, answer[:300]
    for canary in CANARIES:
        assert canary not in answer
    assert b"Traceback" not in answer


def changed(scene: Scene) -> object:
    standing = scene.actions.standing([scene.plant.alert.alert_id])
    return (standing.acknowledged, standing.judged, standing.shelves, standing.rebaselines, scene.actions.votes())


@FUZZ
@given(start=st.sampled_from((*GETS, *FILES)), rest=st.lists(pieces, max_size=4), query=queries)
def test_no_path_breaks_or_leaves_the_page(scene: Scene, start: str, rest: list[str], query: dict[str, str]) -> None:
    """Any path and any query: an answer that is not ours to be ashamed of, and no file from outside."""
    target = start + "/".join(rest)
    if query:
        target += "?" + urlencode(query, errors="replace")
    check(scene, *send(scene, "GET", target, []))


@FUZZ
@given(
    method=st.sampled_from(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW")),
    path=st.sampled_from((*GETS, *POSTS)),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                (
                    "Authorization",
                    "Cookie",
                    "Origin",
                    "Sec-Fetch-Site",
                    "Range",
                    "Accept-Language",
                    "If-None-Match",
                    "Host",
                )
            ),
            ascii_words,
        ),
        max_size=4,
    ),
)
def test_no_header_breaks_the_page_or_stands_for_a_token(
    scene: Scene, method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    """Any method and any header: nothing changes without a token."""
    before = changed(scene)
    check(scene, *send(scene, method, path, headers))
    assert changed(scene) == before


@FUZZ
@given(
    path=st.sampled_from(POSTS),
    kind=st.sampled_from(KINDS),
    body=st.one_of(
        st.binary(max_size=300),
        st.dictionaries(st.sampled_from((*NAMES_OF_FIELDS, "csrf")), words, max_size=6).map(
            lambda form: urlencode(form, errors="replace").encode()
        ),
        st.just(b"comment=" + b"x" * 40_000),
        st.just(b'--x\r\nContent-Disposition: form-data; name="f"; filename="../../x"\r\n\r\nabc\r\n--x--\r\n'),
    ),
)
def test_no_body_breaks_the_page_or_stands_for_a_token(scene: Scene, path: str, kind: str, body: bytes) -> None:
    """Any upload: refused in words, and nothing changes."""
    before = changed(scene)
    check(scene, *send(scene, "POST", path, [("Content-Type", kind)], body))
    assert changed(scene) == before


@FUZZ
@given(
    path=st.sampled_from([path for path in POSTS if path not in ("/login", "/logout")]),
    form=st.dictionaries(
        st.sampled_from(NAMES_OF_FIELDS), st.one_of(words, st.just("press-3"), st.just("8")), max_size=6
    ),
)
def test_no_form_of_an_admin_breaks_the_page(scene: Scene, path: str, form: dict[str, str]) -> None:
    """With every right and any value in any field: done or refused in words, and the board still shows."""
    body = urlencode({name: value.encode("utf-8", "replace") for name, value in form.items()}).encode()
    headers = [("Authorization", f"Bearer {ADMIN}"), ("Content-Type", KINDS[0])]
    status, answer = send(scene, "POST", path, headers, body)
    check(scene, status, answer)
    assert status in (303, 400, 403)
    assert send(scene, "GET", "/", [])[0] == 200


@FUZZ
@given(token=st.one_of(words, st.sampled_from((ADMIN[:-1], ADMIN + " x", ADMIN.upper(), ""))))
def test_nothing_but_a_token_is_a_token(scene: Scene, token: str) -> None:
    """No other text logs anybody in."""
    body = urlencode({"who": "x", "token": token.encode("utf-8", "replace")}).encode()
    status, answer = send(scene, "POST", "/login", [("Content-Type", KINDS[0])], body)
    assert status == 401
    assert b"Set-Cookie" not in answer


def test_the_page_came_through(scene: Scene, tmp_path: Path) -> None:
    """After all that the page still serves a clip and the board."""
    assert send(scene, "GET", "/", [])[0] == 200
    assert b"fLaC" in send(scene, "GET", f"/clips/{scene.plant.clip}.flac", [])[1]
