"""Who may do what on the page: tokens, roles, sessions, forms, host names, rates, files; and the log of all of it."""

from __future__ import annotations

import http.client
import re
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from pagescene import ADMIN, NAMES, OPERATE, VIEW, Scene, make_plant

from monitor.errors import SettingsError, WorkFailed
from monitor.settings import Line
from monitor.settings_web import Web, WebToken
from monitor.web.access import Access, access_of
from monitor.web.limits import MOST, Limiter
from monitor.web.serve import tls
from monitor.web.sessions import COOKIE, Sessions

WRITES = ("/acknowledge", "/shelve", "/unshelve", "/judge", "/rebaseline", "/vote", "/logout")


class Client:
    """A browser without a window: keeps its cookie, sends forms."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.cookie = scene, ""

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> SimpleNamespace:
        connection = http.client.HTTPConnection(self.scene.url.removeprefix("http://"), timeout=20)
        body = urlencode(form) if form is not None else None
        if form is not None:
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            if cookie.startswith(COOKIE + "="):
                self.cookie = cookie.partition(";")[0]
        return SimpleNamespace(status=answer.status, headers=answer.headers, text=text)

    def login(self, token: str, who: str = "Sato") -> SimpleNamespace:
        return self.ask("POST", "/login", {"who": who, "token": token, "next": "/alarms"})

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="(\w+)"', self.ask("GET", "/").text)
        return found[1] if found else ""

    def acknowledge(self, **more: str) -> SimpleNamespace:
        alarm = self.scene.plant.alert.alert_id
        return self.ask("POST", "/acknowledge", {"alarm": alarm, "csrf": self.csrf(), **more})


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(make_plant(tmp_path, names=NAMES[:2], days=0.1, requests_per_s=0))
    yield made
    made.close()


@pytest.fixture
def client(scene: Scene) -> Client:
    return Client(scene)


def seen(scene: Scene) -> bool:
    return bool(scene.actions.standing([scene.plant.alert.alert_id]).acknowledged)


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_cannot_use(client: Client) -> None:
    """The cookie is HttpOnly and SameSite=Strict, and the reader goes on to where they wanted."""
    answer = client.login(OPERATE)
    assert (answer.status, answer.headers["Location"]) == (303, "/alarms")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Sato" in client.ask("GET", "/").text


@pytest.mark.parametrize(("token", "status"), [(VIEW, 403), (OPERATE, 303), (ADMIN, 303), ("wrong", 401), ("", 401)])
def test_roles_hold(client: Client, scene: Scene, token: str, status: int) -> None:
    """Only those who operate acknowledge; whoever was refused is in the audit log."""
    client.login(token)
    assert client.acknowledge().status == status
    assert seen(scene) is (status == 303)
    denied = [one for one in scene.actions.audit() if one.outcome == "denied"]
    assert bool(denied) is (status != 303)


@pytest.mark.parametrize("path", WRITES)
def test_no_write_without_a_token(client: Client, path: str) -> None:
    """Every write asks for a log-in first."""
    assert client.ask("POST", path, {"alarm": client.scene.plant.alert.alert_id}).status == 401


@pytest.mark.parametrize("path", WRITES)
def test_no_write_from_a_forged_form(client: Client, scene: Scene, path: str) -> None:
    """A form without the session's own CSRF token, or from another site, changes nothing."""
    client.login(ADMIN)
    right = client.csrf()
    for form, headers in (
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": right}, {"Origin": "https://evil.example"}),
        ({"csrf": right}, {"Sec_Fetch_Site": "cross-site"}),
        ({"csrf": right}, {"Origin": "null"}),
        ({}, {"Authorization": "Negotiate abc"}),
    ):
        form |= {"alarm": scene.plant.alert.alert_id, "machine": "press-3", "hours": "8", "why": "x", "choice": "a"}
        assert client.ask("POST", path, form, **headers).status == 403
    assert not seen(scene)
    assert not scene.actions.standing([]).shelves


def test_a_token_of_another_session_does_not_fit(client: Client, scene: Scene) -> None:
    """A CSRF token is worth nothing beside another cookie."""
    other = Client(scene)
    other.login(OPERATE)
    client.login(OPERATE)
    assert client.acknowledge(csrf=other.csrf()).status == 403


def test_programs_write_with_a_bearer_token(client: Client, scene: Scene) -> None:
    """A program needs no cookie; the log names its role. Basic, which browsers repeat by themselves, only reads."""
    form = {"alarm": scene.plant.alert.alert_id}
    assert (
        client.ask("POST", "/acknowledge", form, Authorization="Basic eDpvcGVyYXRlLXRva2VuLWZvci10ZXN0cw==").status
        == 403
    )
    assert client.ask("POST", "/acknowledge", form, Authorization=f"Bearer {VIEW}").status == 403
    assert client.ask("POST", "/acknowledge", form, Authorization=f"Bearer {OPERATE}").status == 303
    done = next(one for one in scene.actions.audit() if one.outcome == "done")
    assert (done.who, done.role, done.address) == ("token (operate)", "operate", "127.0.0.1")


def test_only_admins_read_the_audit_log_and_change_what_is_normal(client: Client, scene: Scene) -> None:
    """Operators see no audit log and cannot ask for a new normal, even with the right form."""
    client.login(OPERATE)
    assert "操作記録" not in client.ask("GET", "/alarms").text
    form = {"machine": "press-3", "why": "new", "csrf": client.csrf()}
    assert client.ask("POST", "/rebaseline", form).status == 403
    assert not scene.actions.standing([]).rebaselines
    client.login(ADMIN)
    assert "操作記録" in client.ask("GET", "/alarms").text
    assert client.ask("POST", "/rebaseline", {**form, "csrf": client.csrf()}).status == 303


def test_a_session_ends(client: Client, scene: Scene) -> None:
    """With the log-out, and after its hours."""
    client.login(OPERATE)
    old = client.cookie
    client.ask("POST", "/logout", {"csrf": client.csrf()})
    client.cookie = old
    assert client.acknowledge().status == 401
    client.login(OPERATE)
    csrf = client.csrf()
    scene.now_ns += 13 * 3600 * 1_000_000_000
    assert client.acknowledge(csrf=csrf).status == 401


def test_a_session_dies_with_its_token(tmp_path: Path) -> None:
    """Once a token is changed, nobody who used the old one may go on; others stay logged in over a restart."""
    path = tmp_path / "web.sqlite"
    before = Sessions(path, Access({"operate": ("old",), "admin": ("kept",)}), 12, lambda: 0.0)
    gone, stays = before.begin("a", "old"), before.begin("b", "kept")
    assert gone
    assert stays
    before.close()
    after = Sessions(path, Access({"operate": ("new",), "admin": ("kept",)}), 12, lambda: 1.0)
    assert after.of(gone[0]) is None
    kept = after.of(stays[0])
    assert kept is not None
    assert kept.role == "admin"
    after.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stored = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert stays[0].encode() not in stored
    assert b"kept" not in stored


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y"]
)
def test_nobody_is_sent_away_after_a_form(client: Client, to: str) -> None:
    """`next` leads to pages of this site only."""
    answer = client.ask("POST", "/login", {"who": "a", "token": OPERATE, "next": to})
    assert answer.headers["Location"] == "/"


def test_a_rebound_name_is_refused(client: Client, scene: Scene) -> None:
    """A page that is this machine's own answers to this machine's names only."""
    assert client.ask("GET", "/", Host="evil.example").status == 421
    assert client.ask("GET", "/", Host="localhost:99").status == 200


def test_tokens_are_on_no_page_and_in_no_log(client: Client, scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is asked, no answer and no log line contains a token or a cookie."""
    caplog.set_level(0)
    answers = [client.login("wrong-token-that-somebody-typed").text, client.login(ADMIN).text]
    answers += [
        client.ask("GET", path).text for path in ("/", "/alarms", "/system", "/metrics", "/api/state", "/login")
    ]
    said = "".join(answers) + caplog.text + "".join(f"{one}" for one in scene.actions.audit())
    for secret in (ADMIN, OPERATE, VIEW, "wrong-token", client.cookie.partition("=")[2]):
        assert secret not in said
    assert ADMIN not in repr(scene.line)


def test_without_tokens_in_the_settings_they_are_made(tmp_path: Path) -> None:
    """They lie in the data folder for nobody else to read, and are the same at the next start."""
    line = make_plant(tmp_path, names=NAMES[:1], days=0.1).line
    line = line.model_copy(update={"web": Web()})
    access_of(line)
    path = line.site.data / "secrets" / "operate.token"
    token = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) >= 32
    assert access_of(line).role(token) == "operate"
    path.write_text("")
    with pytest.raises(WorkFailed, match=r"operate\.token is empty"):
        access_of(line)


def test_tokens_come_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One place each; what is missing is said without the secret."""
    (tmp_path / "t").write_text("from-file\n")
    monkeypatch.setenv("EAR", "from-env")
    assert WebToken(role="admin", file=tmp_path / "t").secret() == "from-file"
    assert WebToken(role="admin", env="EAR").secret() == "from-env"
    for wrong in (
        WebToken(role="view"),
        WebToken(role="view", env="EAR", file=tmp_path / "t"),
        WebToken(role="view", env="NO"),
    ):
        with pytest.raises(SettingsError, match=r"web\.tokens \(view\)"):
            wrong.secret()


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [({}, True), ({"host": "0.0.0.0"}, False), ({"token": "x"}, False), ({"host": "0.0.0.0", "reading": "open"}, True)],
)
def test_reading_is_open_on_this_machine_only(settings: dict[str, str], is_open: bool) -> None:
    """As soon as the page can be reached from elsewhere, reading needs a token too, unless somebody says otherwise."""
    assert Web.model_validate(settings).reading_is_open is is_open


def test_too_many_requests_are_told_to_wait(tmp_path: Path) -> None:
    """Log-ins are slowed down before they can be tried by the thousand; health is never refused."""
    scene = Scene(make_plant(tmp_path, names=NAMES[:1], days=0.1))
    try:
        client = Client(scene)
        statuses = [client.login("wrong").status for _ in range(15)]
        assert set(statuses[:10]) == {401}
        assert statuses[-1] == 429
        assert int(client.login("wrong").headers["Retry-After"]) >= 1
        assert client.ask("GET", "/-/healthy").status == 200
    finally:
        scene.close()


def test_a_bucket_fills_again_and_forgets() -> None:
    """After the time it names there is one more; what it remembers is bounded."""
    now = [0.0]
    limiter = Limiter(2.0, 3.0, lambda: now[0])
    assert [limiter.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limiter.wait_s("b") == 0.0
    now[0] += 0.5
    assert limiter.wait_s("a") == 0.0
    for number in range(2 * MOST):
        limiter.wait_s(str(number))
    assert len(limiter._left) <= MOST
    assert Limiter(0.0, 0.0, lambda: 0.0).wait_s("a") == 0.0


def test_files_of_the_data_folder_stay_there(client: Client, scene: Scene) -> None:
    """Nothing that is not sound or a picture made for the page can be had, however its name is written."""
    client.login(ADMIN)
    clip = scene.plant.clip
    for path in (
        f"/clips/{clip}/shown.json",
        f"/clips/{clip}/..%2f..%2f..%2falarms.sqlite",
        f"/clips/..%2f{clip}/sound.png",
        "/clips/..%2f..%2fsecrets/admin.token",
        "/healthy/press-3-a/..%2f1.flac",
        "/healthy/..%2f..%2fsecrets/1.flac",
        "/static/..%2ftemplates%2fbase.html",
        "/static/%2e%2e/settings.py",
        "/machines/..%2f..%2fetc%2fpasswd",
        "/listen/x/..%2fa.flac",
    ):
        assert client.ask("GET", path).status == 404, path
    assert client.ask("GET", f"/clips/{clip}/sound.png").headers["Content-Type"] == "image/png"


def test_tls_speaks_to_those_who_trust_it(tmp_path: Path) -> None:
    """With a certificate the page is served over TLS, its cookie is for TLS only, and plain HTTP gets nothing."""
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    made = subprocess.run(
        ["openssl", *command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "k.pem", "-out", "c.pem"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl here")
    with pytest.raises(WorkFailed, match="cannot be used"):
        tls(tmp_path / "c.pem", tmp_path / "c.pem")
    plant = make_plant(tmp_path, names=NAMES[:1], days=0.1, certfile=tmp_path / "c.pem", keyfile=tmp_path / "k.pem")
    scene = Scene(plant)
    try:
        trust = ssl.create_default_context(cafile=tmp_path / "c.pem")
        connection = http.client.HTTPSConnection(scene.url.removeprefix("https://"), timeout=10, context=trust)
        body = urlencode({"who": "a", "token": OPERATE})
        connection.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        assert "Secure" in answer.headers["Set-Cookie"]
        assert answer.headers["Strict-Transport-Security"]
        connection.close()
    finally:
        scene.close()


def test_where_people_talk_no_sound_is_kept_until_someone_says_so() -> None:
    """`people = true` switches evidence off; only an explicit `evidence = true` switches it on again."""
    mic = {"id": "a", "source": "mic:0"}
    keeps = [
        Line.model_validate({"machine": [{"id": "m", "healthy": "h", "mic": [{**mic, **more}]}]})
        .machine[0]
        .mic[0]
        .evidence
        for more in ({}, {"people": True}, {"people": True, "evidence": True}, {"evidence": False})
    ]
    assert keeps == [True, False, True, False]
