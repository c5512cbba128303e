"""The page in a real Chromium, over a pipeline as supervisord runs it: what a reader sees when things happen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.chromium import DESKTOP, PHONE, chromium, complaints, look
from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.harness import PROCESSES, ROOT, Pipeline, wait_for

AXE = ROOT / "tests/browser/node_modules/axe-core/axe.min.js"
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run().then((found) => done(found.violations.map((rule) =>
  `${rule.impact} ${rule.id}: ${rule.nodes.map((node) => node.target.join(" ")).join(", ")}`)));
"""
BEYOND = """
return [...document.querySelectorAll(".card")].flatMap((card) => [...card.querySelectorAll("*")]
  .filter((one) => one.getBoundingClientRect().right > card.getBoundingClientRect().right)
  .map((one) => one.textContent));
"""


@contextmanager
def playing(run_dir: Path, vm: FakeVm, environment: dict[str, str]) -> Iterator[Pipeline]:
    """Run the pipeline on a board on which a stream plays; `play` says which episode."""
    play(run_dir, "")
    with Pipeline(run_dir, vm.import_url, {**environment, "DEMO": f"--cue {run_dir / 'cue'}"}) as pipeline:
        wait_for("the page", lambda: pipeline.get("/")[0] == 200)
        yield pipeline


def play(run_dir: Path, episode: str) -> None:
    """Have an episode begin, "" for calm."""
    (run_dir / "cue").write_text(episode, encoding="ascii")


def address(pipeline: Pipeline) -> str:
    """Return where the page is."""
    return "http://" + (pipeline.run_dir / "healthd.address").read_text(encoding="ascii").strip() + "/"


def text(browser: Chrome, selector: str) -> str:
    """Return what an element says, "" while there is none."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector))


def show(browser: Chrome, part: str) -> None:
    """Scroll to a part of the page: what nobody can see is not asked for."""
    browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", part)


def verdict(browser: Chrome) -> str:
    """Return the words of both verdicts, their reasons included."""
    parts = ("#stream-verdict h1", "#recorder-verdict h2", "#stream-reasons", "#recorder-reasons")
    return "\n".join(text(browser, part) for part in parts)


def wait_told(browser: Chrome, words: str, timeout_s: float = 60) -> None:
    """Wait until the verdict or a reason has some words."""
    wait_for(words, lambda: words in verdict(browser), timeout_s)


def wait_well(browser: Chrome) -> None:
    """Wait until the verdict is a good one."""
    good = ("Stream healthy\nAll is recorded", "The stream runs\nAll is recorded", "No stream\nAll is recorded")
    wait_for("good verdicts", lambda: verdict(browser).startswith(good), 60)


def test_what_happens_is_seen(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """On the board and to the recorder, which share a browser: it is told, and when it is over that is told too.

    Long because each verdict comes when the pipeline has seen it, one after the other, in a real browser.
    """
    environment = {**quick, "BELABOX_HEALTH__PORT": str(free_port())}
    with playing(run_dir, vm, environment) as pipeline, chromium(run_dir, PHONE) as browser:
        browser.get(address(pipeline))
        happens_on_the_board(run_dir, vm, browser)
        happens_to_the_recorder(pipeline, browser)


def happens_on_the_board(run_dir: Path, vm: FakeVm, browser: Chrome) -> None:
    """Numbers move; a lost link and a server that is away are told, and are over; then its moment is looked at."""
    seen: set[str] = set()

    def moved() -> bool:
        seen.add(text(browser, "#stream dd"))
        return len([said for said in seen if said[:1].isdecimal()]) >= 3

    wait_for("numbers that move", moved)
    play(run_dir, "link")
    vm.set_state(down=503)
    wait_told(browser, "is down")
    show(browser, "events")
    wait_for("an event", lambda: "link" in text(browser, "#events ol").lower())
    wait_told(browser, "Uploader: nothing uploaded")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
    assert [] == browser.execute_script(BEYOND)
    is_accessible(browser)
    what_happened_then(browser)
    vm.set_state(down=None)
    play(run_dir, "")
    wait_well(browser)
    assert [] == complaints(browser)


def what_happened_then(browser: Chrome) -> None:
    """A tap on an event shows its moment in every plot; a mouse draws over a time, a key moves the cursor."""
    browser.find_element(By.CSS_SELECTOR, "#links tbody button").click()
    wait_for("plots", lambda: browser.execute_script("return document.querySelectorAll('polyline').length > 5"))
    colour = "return document.querySelector('#links tbody button').className.split(' ').pop()"
    links = f"#plots .{browser.execute_script(colour)} > span:first-child"
    named = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())"
    assert {text(browser, "#links tbody button")} == set(browser.execute_script(named, links))
    show(browser, "events")
    at = wait_for("an event", lambda: tapped(browser, "#events [data-moment]"))
    wait_for("its moment", lambda: text(browser, "#moment").startswith(at))
    values = text(browser, "#plots figcaption")
    browser.find_element(By.ID, "cursor").send_keys(Keys.ARROW_LEFT * 30)
    assert not text(browser, "#moment").startswith(at)
    assert values != text(browser, "#plots figcaption")
    for move in (pinch, drag):
        before = text(browser, "#range")
        move(browser)
        wait_for("a shorter time", lambda: text(browser, "#range") != before)  # noqa: B023 - asked at once
    assert browser.execute_script("return document.documentElement.scrollWidth") <= DESKTOP[0]


def tapped(browser: Chrome, selector: str) -> str:
    """Click the first element of that kind, if there is one; return what it says."""
    with suppress(StaleElementReferenceException):  # the list was drawn again meanwhile
        for element in browser.find_elements(By.CSS_SELECTOR, selector)[:1]:
            said = element.text
            element.click()
            return said
    return ""


def pinch(browser: Chrome) -> None:
    """Spread two fingers on the newest part of a plot."""
    box = browser.execute_script("return document.querySelector('#plots figure > svg').getBoundingClientRect()")
    x, y = box["right"] - 25, box["y"] + box["height"] / 2
    for kind, apart in (("touchStart", 8), ("touchMove", 12), ("touchMove", 16), ("touchEnd", 0)):
        points = [{"x": x + side * apart, "y": y, "id": side + 1} for side in (-1, 1)] if apart else []
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def drag(browser: Chrome) -> None:
    """Draw with a mouse over a time in a plot."""
    drawing = browser.find_element(By.CSS_SELECTOR, "#plots figure > svg")
    ActionChains(browser).move_to_element(drawing).click_and_hold().move_by_offset(120, 0).release().perform()


def happens_to_the_recorder(pipeline: Pipeline, browser: Chrome) -> None:
    """A process that is stopped is named; a device that is gone is said to be."""
    for stage in ("buffer", "collectors:system"):
        pipeline.ask("stopProcess", stage)
        wait_told(browser, f"{stage.rpartition(':')[2].capitalize()}: stopped")
        pipeline.ask("startProcess", stage)
        wait_well(browser)
    assert [] == complaints(browser)
    device_gone(pipeline, browser)


def is_accessible(browser: Chrome) -> None:
    """What axe-core finds: nothing, with every part of the page in use and something wrong, in both themes."""
    if not AXE.exists():
        message = f"{AXE} is not there (`make test` installs it where there is npm): NOT TESTED"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    names = {stage.rpartition(":")[2] for stage in PROCESSES}
    assert {name for name in names if name not in text(browser, "#processes ul")} == set()
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    for size, dark in ((PHONE, False), (DESKTOP, True)):
        look(browser, size, dark=dark)
        assert [] == browser.execute_async_script(RUN_AXE), (size, dark)


def device_gone(pipeline: Pipeline, browser: Chrome) -> None:
    """Old numbers are never shown as fresh, and when it is back so is the page."""
    browser.execute_async_script("navigator.serviceWorker.ready.then(() => caches.keys()).then(arguments[0])")
    browser.refresh()  # from now on the worker sees what is asked for
    wait_for("the page to be live", lambda: text(browser, "#connection") == "live")
    wait_for("a kept picture", lambda: browser.execute_script("return localStorage.length"))
    assert {"installabilityErrors": []} == browser.execute_cdp_cmd("Page.getInstallabilityErrors", {})
    pipeline.ask("stopProcess", "healthd")
    for is_opened_again in (False, True):
        if is_opened_again:
            browser.refresh()  # the shell is the browser's, and what was heard last is there
        wait_for("the news", lambda: text(browser, "#stream-verdict h1") == "Device not reachable")
        assert "not reachable since" in text(browser, "#connection")
        assert browser.execute_script("return document.body.classList.contains('lost')")
        assert text(browser, "#device-tiles dd")
    pipeline.ask("startProcess", "healthd")
    wait_for("the device again", lambda: text(browser, "#connection") == "live", 60)


def test_the_page_is_shared_with_a_phone(run_dir: Path, vm: FakeVm, quick: dict[str, str]) -> None:
    """One command, and a link logs one phone in, once; others have the token; taken back, all are out."""
    with Pipeline(run_dir, vm.import_url, quick) as pipeline, chromium(run_dir, PHONE) as browser:
        wait_for("the page", lambda: pipeline.get("/")[0] == 200)
        link = shared(run_dir, "--share")
        browser.get(link)
        wait_for("the page", lambda: text(browser, "#connection") == "live")
        assert (401, link.partition("login")[0]) == (pipeline.get("/api/now")[0], browser.current_url)
        browser.delete_all_cookies()
        browser.get(link)
        wait_for("a word", lambda: "used already" in text(browser, "#refused"))
        token = (run_dir / "page-token").read_text(encoding="ascii").strip()
        for word, expected in (("wrong", "/login?again"), (token, "/")):
            field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
            field.send_keys(word)
            field.submit()
            wait_for(expected, lambda: browser.current_url.endswith(expected))  # noqa: B023 - asked at once
        wait_for("the page", lambda: text(browser, "#connection") == "live")
        assert token not in browser.page_source
        (run_dir / "page-token").write_text("another-5f1c9\n", encoding="ascii")
        wait_for("a word", lambda: text(browser, "#connection") == "log in again")
        shared(run_dir, "--unshare")
        wait_for("loopback alone", lambda: address(pipeline).startswith("http://127."))
        assert 200 == pipeline.get("/api/now")[0]


def shared(run_dir: Path, option: str) -> str:
    """Run `belabox-metrics page`; return the link that it gives, if any."""
    environment = {"PATH": os.environ["PATH"], "BELABOX_METRICS_PYTHON": sys.executable, "RUN_DIR": str(run_dir)}
    done = subprocess.run(
        [str(ROOT / "deploy/belabox-metrics"), "page", option],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    return next((word for word in done.stdout.split() if "/login#" in word), "")
