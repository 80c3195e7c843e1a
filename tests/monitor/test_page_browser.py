"""The page in a real browser: what shift staff do with it, in both languages, on a desk and on a telephone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pagescene import ADMIN, NAMES, NOW_S, OPERATE, S, Scene, make_plant

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required"),
]
PATIENCE_S = 20.0
PAGES = ("/", "/machines/press-3", "/alarms", "/mics", "/listen", "/system", "/login", "/?wall", "/nowhere")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(make_plant(tmp_path, names=NAMES[:6], days=1.0, requests_per_s=0))
    yield made
    made.close()


def until(page: Any, expression: str) -> None:
    """Wait until it holds; the library's own way needs eval, which the page's policy forbids even to the driver."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


@pytest.fixture
def visit(browser: Any, scene: Scene) -> Iterator[Any]:
    """Opens a page as somebody with a token, and fails the test on any error that the browser reports."""
    contexts, errors = [], []

    def open_page(path: str, token: str = "", **options: Any) -> Any:
        context = browser.new_context(locale="ja-JP", **options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        if token:
            page.goto(f"{scene.url}/login?next={path}")
            page.fill("[name=who]", "佐藤")
            page.fill("[name=token]", token)
            page.click("main button")
        else:
            page.goto(scene.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [error for error in errors if "404" not in error] == []


def test_from_the_board_to_an_acknowledged_alarm_in_two_clicks(visit: Any, scene: Scene) -> None:
    """At ten to seven the lead sees that press 3 is wrong since ten past two, and acknowledges in two clicks."""
    page = visit("/", OPERATE)
    alarm = page.locator(f"#alarm-{scene.plant.alert.alert_id}")
    assert "プレス 3号機：02:10 から異音" in alarm.inner_text()
    alarm.get_by_text("確認", exact=False).first.click()
    alarm.get_by_role("button", name="佐藤 として確認する").click()
    page.wait_for_selector(f"#alarm-{scene.plant.alert.alert_id} .seen")
    assert "佐藤 が確認 06:50" in alarm.inner_text()
    (entry,) = [one for one in scene.actions.audit() if one.action == "acknowledge"]
    assert (entry.who, entry.role, entry.outcome) == ("佐藤", "operate", "done")


def test_the_keyboard_alone_acknowledges(visit: Any, scene: Scene) -> None:
    """Enter on the alarm opens the form with its button under the keyboard, Escape closes it, Enter twice says yes."""
    page = visit("/", OPERATE)
    summary = page.locator(f"#ack-{scene.plant.alert.alert_id} summary")
    summary.focus()
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('button.primary')")
    page.keyboard.press("Escape")
    assert not page.locator(f"#ack-{scene.plant.alert.alert_id}").evaluate("one => one.open")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('button.primary')")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#alarm-{scene.plant.alert.alert_id} .seen")


def test_a_clip_plays_beside_last_weeks_sound(visit: Any, scene: Scene) -> None:
    """The sound of the alarm plays, starting last week's stops it, and the cursor moves over the spectrogram."""
    page = visit("/machines/press-3")
    assert "正常時 (2026-11-13 02:10)" in page.locator(".players").inner_text()
    raw, week = page.locator("[data-kind=raw]"), page.locator("[data-kind=week]")
    raw.evaluate("one => one.play()")
    until(page, "document.querySelector('[data-kind=raw]').currentTime > 0.3")
    page.wait_for_selector(".spectrum.wide .cursor[transform]", state="attached")
    week.evaluate("one => one.play()")
    until(page, "document.querySelector('[data-kind=week]').currentTime > 0.1")
    assert raw.evaluate("one => one.paused")
    heat = page.locator(".spectrum.wide .heat")
    assert heat.is_visible()
    page.get_by_label("正常との差を重ねる").uncheck()
    assert not heat.is_visible()


def test_shelving_and_ending_it(visit: Any, scene: Scene) -> None:
    """A machine is shelved for eight hours with a comment, the board shows it until when and by whom, and it ends."""
    page = visit("/machines/press-3", OPERATE)
    form = page.locator("form[action='/shelve']")
    form.get_by_label("コメント").fill("金型交換")
    form.get_by_role("button").click()
    page.wait_for_selector("form[action='/unshelve']")
    shelf = scene.actions.standing([]).shelves["press-3"]
    assert (shelf.who, shelf.until_ns, shelf.comment) == ("佐藤", (NOW_S + 8 * 3600) * S, "金型交換")
    page.goto(scene.url + "/")
    assert "14:50:00 まで通知停止 (佐藤)" in page.locator(".machine.shelved").inner_text()
    page.goto(scene.url + "/machines/press-3")
    page.get_by_role("button", name="通知を再開").click()
    page.wait_for_selector("form[action='/shelve']")
    assert not scene.actions.standing([]).shelves


def test_a_fault_is_confirmed_and_a_new_normal_asked_for(visit: Any, scene: Scene) -> None:
    """What it was is kept with its name; only an admin may ask for a new normal."""
    page = visit("/machines/press-3?lang=en", ADMIN)
    page.get_by_label("Name of the fault").fill("bearing")
    page.get_by_role("button", name="Yes, a fault").click()
    page.wait_for_selector("text=confirmed as a fault: bearing")
    page.get_by_label("Reason").fill("new motor")
    page.get_by_role("button", name="Ask for it").click()
    page.wait_for_selector("text=asked for a new normal: new motor")
    assert scene.actions.standing([scene.plant.alert.alert_id]).judged[scene.plant.alert.alert_id].fault == "bearing"


def test_the_listening_test_is_blind(visit: Any, scene: Scene) -> None:
    """Neither the addresses nor the page say which sound is which; the vote knows."""
    page = visit("/listen", OPERATE)
    for word in ("separated", "分離した", "/clips/"):
        assert word not in page.locator("section").first.inner_html()
    page.get_by_role("button", name="A がよい").click()
    page.wait_for_selector("text=全部聞き終わりました")
    (vote,) = scene.actions.votes()
    assert {vote.a, vote.b} == {"raw", "separated"}
    assert vote.preferred == vote.a


def test_what_changes_comes_by_itself(visit: Any, scene: Scene) -> None:
    """An open page shows a change without being loaded again, and leaves a form alone in which somebody types."""
    page = visit("/", OPERATE)
    page.locator(f"#ack-{scene.plant.alert.alert_id} summary").click()
    page.locator(f"#ack-{scene.plant.alert.alert_id} [name=comment]").fill("half a word")
    scene.board = {**scene.board, "problems": {"store_full": {}}}
    page.wait_for_selector("#problems .problem")
    assert page.locator(f"#ack-{scene.plant.alert.alert_id} [name=comment]").input_value() == "half a word"


def test_without_javascript_one_reads_and_acknowledges(visit: Any, scene: Scene) -> None:
    """The page is whole without scripts."""
    page = visit("/", OPERATE, java_script_enabled=False)
    alarm = page.locator(f"#alarm-{scene.plant.alert.alert_id}")
    alarm.locator("summary").click()
    alarm.get_by_role("button").click()
    assert "佐藤 が確認" in page.locator(f"#alarm-{scene.plant.alert.alert_id}").inner_text()


def test_both_languages_are_a_click_away(visit: Any, scene: Scene) -> None:
    """The choice lasts from page to page."""
    page = visit("/")
    page.get_by_role("link", name="English").click()
    page.get_by_role("link", name="Press 3").first.click()
    assert page.get_by_role("heading", name="Score over time").is_visible()
    page.get_by_role("link", name="日本語").click()
    assert page.get_by_role("heading", name="スコアの推移").is_visible()


def test_a_telephone_needs_no_sideways_scrolling(visit: Any, scene: Scene) -> None:
    """Every page fits 390 pixels, and what is pressed is large enough for a finger."""
    page = visit("/", OPERATE, **PHONE)
    for path in PAGES:
        page.goto(scene.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.goto(scene.url + "/")
    for button in page.locator(".button, button.primary").all():
        box = button.bounding_box()
        assert box is None or box["height"] >= 40


def test_axe_finds_nothing_serious(visit: Any, scene: Scene) -> None:
    """No page has a serious or critical fault of accessibility, to those who may do everything."""
    from axe_playwright_python.sync_playwright import Axe

    page = visit("/", ADMIN)
    page.locator("details.act summary").first.click()
    found = _serious(Axe().run(page), "the open form")
    for path in (*PAGES, "/?lang=en", "/machines/press-3?lang=en"):
        page.goto(scene.url + path)
        found += _serious(Axe().run(page), path)
    assert found == []


def _serious(result: Any, path: str) -> list[tuple[str, str, list[str]]]:
    return [
        (path, one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in result.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
