"""`make screenshots`: every page in both languages and both colour schemes, from a stack with real models in it.

Pictures go to `var/screenshots/<page>-<language>-<scheme>.png`; two of them are the README's, in
`docs/screenshots`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

import django
from django.conf import settings

LANGUAGES = ("en", "zh-hans")
SCHEMES = ("light", "dark")
README = {"service-guides-en-light": "service-en.png", "service-guides-zh-hans-light": "service-zh.png"}
WIDTH, HEIGHT = 1366, 860


def main() -> None:
    """Start a stack, give it something to show, look at every page."""
    django.setup()
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import LOCALES, QUIET, sign_in_link
    from tests.live.driver import Driver
    from tests.live.stack import live_stack
    from tests.needs import needs_chromium
    from tests.waiting import until

    out = settings.BASE_DIR / "var" / "screenshots"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, live_stack(Path(folder) / "var") as stack:
        driver = Driver(stack.environment)
        versions = {
            name: driver.import_model(name=name, path=path)
            for name, path in {
                "digits": "onnx-digits",
                "iris": "xgboost-iris",
                "葡萄酒": "sklearn-wine",
            }.items()
        }
        broken = Path(folder) / "var" / "objects" / "examples" / "broken" / "model"
        broken.mkdir(parents=True)
        (broken / "model.onnx").write_bytes(b"not a model")
        versions["broken"] = driver.import_model(name="broken", path="broken")
        for pk in versions.values():
            until(lambda pk=pk: driver.version_state(pk=pk)["live"] == 0, 400.0, "an import")
        services = {
            "digits-api": driver.deploy(name="digits-api", version=versions["digits"], instances=2),
            "iris-api": driver.deploy(name="iris-api", version=versions["iris"]),
        }
        for pk in services.values():
            until(lambda pk=pk: driver.service_state(pk=pk)["status"] == "running", 400.0, "a service")
        driver.close()

        pages = {
            "overview": "/", "models": "/models/", "import": "/models/+import/",
            "import-chosen": "/models/+import/?bucket=examples&path=xgboost-iris/",
            "import-refused": "/models/+import/?bucket=examples&path=",
            "connections": "/models/+connections/", "jobs": "/jobs/",
            "services": "/services/", "deploy": f"/services/+deploy/?version={versions['iris']}",
            "missing": "/nowhere/",
        }  # fmt: skip
        for tab in ("basic", "parameters", "dependencies", "precision", "files", "events"):
            pages[f"version-{tab}"] = f"/models/iris/0.0.1/?tab={tab}"
        pages["version-failed"] = "/models/broken/0.0.1/"
        pages["version-delete"] = "/models/iris/0.0.1/delete/"
        for tab in ("guides", "prediction", "updates", "instances", "events", "logs"):
            pages[f"service-{tab}"] = f"/services/{services['digits-api']}/?tab={tab}"
        pages["service-prediction-form"] = f"/services/{services['iris-api']}/?tab=prediction"
        pages["service-modify"] = f"/services/{services['iris-api']}/modify/"
        pages["service-stop"] = f"/services/{services['iris-api']}/stop/"
        pages["service-delete"] = f"/services/{services['iris-api']}/delete/"

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=needs_chromium(), args=QUIET)
            for language in LANGUAGES:
                for scheme in SCHEMES:
                    context = browser.new_context(
                        locale=LOCALES[language],
                        color_scheme=scheme,
                        base_url=f"http://127.0.0.1:{stack.port}",
                        viewport={"width": WIDTH, "height": HEIGHT},
                    )
                    page = context.new_page()
                    page.goto("/sign-in/")
                    page.screenshot(path=out / f"sign-in-{language}-{scheme}.png")
                    page.goto(sign_in_link(stack))
                    for name, path in pages.items():
                        answer = page.goto(path)
                        if answer is None or (answer.status != 200 and name != "missing"):
                            sys.exit(f"{path} answered {answer and answer.status}")
                        picture = f"{name}-{language}-{scheme}"
                        page.screenshot(path=out / f"{picture}.png", full_page=True)
                        if picture in README:
                            page.screenshot(path=settings.BASE_DIR / "docs" / "screenshots" / README[picture])
                    context.close()
            browser.close()
    print(f"{len(list(out.iterdir()))} pictures in {re.sub('.*/var', 'var', str(out))}")


if __name__ == "__main__":
    main()
