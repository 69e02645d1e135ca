"""From a package to a prediction by visible labels alone: in English, in Chinese, and without JavaScript.

The prediction must equal what the library itself computed for that input (`examples/*/expected.json`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.timeout(900)]
WORK_MILLISECONDS = 180_000  # building an environment on a busy machine


@dataclass(frozen=True)
class Words:
    """What the pages call things; the documents' own terms in both languages."""

    models: str
    import_: str
    name: str
    bucket: str
    engine: str
    create_now: str
    normal: str
    deploy: str
    compute_nodes: str
    next: str
    confirmation: str
    running: str
    guides: str
    address: str
    prediction: str
    editor: str
    predict: str
    events: str
    event_running: str
    logs: str
    stop: str
    stopped: str
    start: str
    delete: str
    services: str


ENGLISH = Words(
    models="Models", import_="Import", name="Name", bucket="Bucket", engine="AI Engine", create_now="Create Now",
    normal="Normal", deploy="Deploy", compute_nodes="Compute Nodes", next="Next",
    confirmation="Specification Confirmation", running="Running", guides="Usage Guides", address="API Address",
    prediction="Prediction", editor="JSON editor", predict="Predict", events="Events",
    event_running="The service is running.", logs="Logs", stop="Stop", stopped="Stopped", start="Start",
    delete="Delete", services="Real-Time Services",
)  # fmt: skip
CHINESE = Words(
    models="模型", import_="导入", name="名称", bucket="桶", engine="AI引擎", create_now="立即创建", normal="正常",
    deploy="部署", compute_nodes="计算节点个数", next="下一步", confirmation="规格确认", running="运行中",
    guides="调用指南", address="API接口地址", prediction="预测", editor="JSON编辑器", predict="预测", events="事件",
    event_running="服务启动完成，运行中。", logs="日志", stop="停止", stopped="停止", start="启动", delete="删除",
    services="在线服务",
)  # fmt: skip


def expected(package: str) -> tuple[str, Any]:
    """The package's sample request and the library's own answer to it."""
    folder = settings.BASE_DIR / "examples" / package
    return (folder / "model" / "sample.json").read_text(), json.loads((folder / "expected.json").read_text())


def assert_same(answer: Any, wanted: Any) -> None:
    """Equal, numbers to the six decimals that `expected.json` keeps."""
    if isinstance(wanted, dict):
        assert isinstance(answer, dict) and answer.keys() == wanted.keys()
        for key, value in wanted.items():
            assert_same(answer[key], value)
    elif isinstance(wanted, list):
        assert isinstance(answer, list) and len(answer) == len(wanted)
        for mine, value in zip(answer, wanted, strict=True):
            assert_same(mine, value)
    elif isinstance(wanted, float):
        assert answer == pytest.approx(wanted, abs=2e-6)
    else:
        assert answer == wanted


class Journey:
    """A person at the console; without scripts the person reloads pages that would refresh by themselves."""

    def __init__(self, page: Page, words: Words, scripts: bool) -> None:
        self.page, self.words, self.scripts = page, words, scripts

    def press(self, name: str, within: Any = None) -> None:
        """The button or link called `name`."""
        scope = within or self.page.get_by_role("main")
        button = scope.get_by_role("button", name=name, exact=True)
        (button if button.count() else scope.get_by_role("link", name=name, exact=True)).first.click()

    def wait_for_status(self, status: str) -> None:
        told = self.page.get_by_role("main").get_by_text(status, exact=True).first
        if self.scripts:
            expect(told).to_be_visible(timeout=WORK_MILLISECONDS)
            return
        for _look in range(WORK_MILLISECONDS // 1000):
            if told.count() and told.is_visible():
                return
            self.page.wait_for_timeout(1000)
            self.page.reload()
        raise AssertionError(f"the status never became {status}")

    def tab(self, name: str) -> None:
        self.page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()

    def import_model(self, package: str, name: str, engine: str) -> None:
        page, words = self.page, self.words
        page.get_by_role("navigation").get_by_role("link", name=words.models, exact=True).click()
        self.press(words.import_)
        page.get_by_label(words.name, exact=False).first.fill(name)
        self.press(package)
        expect(page.get_by_text(engine, exact=True).first).to_be_visible()
        self.press(words.create_now)
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        self.wait_for_status(words.normal)

    def deploy(self, name: str) -> None:
        page, words = self.page, self.words
        self.press(words.deploy)
        page.get_by_label(words.name, exact=False).first.fill(name)
        self.press(words.next)
        expect(page.get_by_role("heading", level=1)).to_have_text(words.confirmation)
        expect(page.get_by_role("main")).to_contain_text(name)
        self.press(words.create_now)
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        self.wait_for_status(words.running)

    def predict(self, body: str) -> Any:
        page, words = self.page, self.words
        self.tab(words.prediction)
        editor = page.get_by_label(words.editor, exact=False).locator("visible=true")
        if not editor.count():
            page.get_by_text(words.editor, exact=True).first.click()
        page.locator("textarea").locator("visible=true").last.fill(body)
        page.get_by_role("main").get_by_role("button", name=words.predict, exact=True).last.click()
        reply = page.locator("#reply")
        expect(reply).to_contain_text("200", timeout=60_000)
        return json.loads(reply.locator("pre").first.inner_text())

    def stop_and_delete(self, name: str) -> None:
        page, words = self.page, self.words
        self.press(words.stop)
        self.confirm(words.stop, name)
        self.wait_for_status(words.stopped)
        self.press(words.delete)
        self.confirm(words.delete, name)
        expect(page.get_by_role("heading", level=1)).to_have_text(words.services)

    def confirm(self, label: str, name: str) -> None:
        """The dialog, or without scripts the page, that states the consequences."""
        dialog = self.page.get_by_role("dialog")
        if self.scripts:
            expect(dialog).to_be_visible()
        scope = dialog if self.scripts else self.page.get_by_role("main")
        box = scope.locator("input[name=typed_name]")
        if box.count():
            box.fill(name)
        scope.get_by_role("button", name=re.compile(label)).last.click()


@pytest.mark.parametrize(
    ("language", "words", "scripts", "package", "engine"),
    [
        pytest.param("en", ENGLISH, True, "onnx-digits", "ONNX", id="english"),
        pytest.param("zh-hans", CHINESE, True, "xgboost-iris", "XGBoost", id="chinese"),
        pytest.param("en", ENGLISH, False, "sklearn-wine", "Scikit_Learn", id="without javascript"),
    ],
)
def test_a_newcomer_gets_the_library_s_own_prediction(
    visit: Callable[..., Page], language: str, words: Words, scripts: bool, package: str, engine: str
) -> None:
    page = visit(language, scripts=scripts)
    journey = Journey(page, words, scripts)
    body, wanted = expected(package)

    journey.import_model(package, f"journey-{package}", engine)
    journey.deploy(f"service-{package}")
    assert_same(journey.predict(body), wanted)
    journey.tab(words.events)
    expect(page.get_by_role("main")).to_contain_text(words.event_running)
    journey.tab(words.logs)
    expect(page.get_by_role("main")).to_contain_text("ready")
    journey.tab(words.guides)
    expect(page.get_by_role("main")).to_contain_text("/v1/infers/")
    journey.stop_and_delete(f"service-{package}")
