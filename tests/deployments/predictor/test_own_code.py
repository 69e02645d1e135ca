"""customize_service.py: the documented class, its inputs, its mistakes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

import numpy as np
import pytest

from .conftest import Running, make_package, predictor, rows_of, table_api

HEAD = "from model_service.python_model_service import XgSklServingBaseService\n"

# The documented XGBoost style parses the text itself; the other style uses the object.
DOCUMENTED = HEAD + textwrap.dedent(
    """
    import collections, json
    import joblib
    import helper
    from .beside import double
    from . import predictor as own_module_of_that_name

    class Flowers(XgSklServingBaseService):
        def __init__(self, model_path):
            self.model_path = model_path
            self.steps = []
            self.model = joblib.load(model_path)
        def _preprocess(self, data):
            self.steps = ["preprocess"]
            as_text = json.loads(data, object_pairs_hook=collections.OrderedDict)
            assert isinstance(as_text, collections.OrderedDict)
            assert as_text == data.parsed and "data" in data and list(data.keys()) == list(data)
            assert data.get("nothing", 5) == 5
            return [list(row.values()) for row in data["data"]["req_data"]]
        def _inference(self, data):
            self.steps.append("inference")
            return self.model.predict(data)
        def _postprocess(self, data):
            self.steps.append("postprocess")
            return {"steps": self.steps, "labels": data, "helped": helper.NAME, "twice": double(4),
                    "file": self.model_path, "own": own_module_of_that_name.NAME, 7: np_value()}

    def np_value():
        import numpy
        return numpy.float32(0.5)
    """
)

# What a call can do wrong; the case is the request's "do".
MISBEHAVING = HEAD + textwrap.dedent(
    """
    import os, sys
    import numpy as np

    class Odd(XgSklServingBaseService):
        def _preprocess(self, data):
            return data["do"]
        def _inference(self, do):
            if do == "raise": raise KeyError("petal_len")
            if do == "exit": sys.exit(3)
            if do == "interrupt": raise KeyboardInterrupt()
            if do == "stop": raise StopIteration("done")
            if do == "recurse": return self._inference(do)
            if do == "surrogate": raise ValueError("half \\ud800")
            if do == "nan": return {"rows": [{"a": 1.0}, {"a": float("nan")}]}
            if do == "array nan": return {"rows": np.array([[1.0, 2.0], [3.0, np.inf]])}
            if do == "null": return {"rows": [None, "null"]}
            if do == "object": return {"x": object()}
            if do == "bytes": return {"x": b"\\xff\\xfe"}
            if do == "large": return "x" * (64 * 1024 * 1024)
            if do == "cycle":
                found = []
                found.append(found)
                return found
            return {"fine": True}
        def _postprocess(self, data):
            return data
    """
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    package = make_package(tmp_path_factory.mktemp("odd"), "Scikit_Learn", model={"any": 1}, code=MISBEHAVING)
    with predictor(package, "Scikit_Learn") as running:
        yield running


def test_the_documented_class_runs_its_steps_in_order_with_text_and_object_and_its_own_modules(
    iris_model, iris, tmp_path
):
    package = make_package(tmp_path / "p", "Scikit_Learn", model=iris_model, code=DOCUMENTED, api=table_api())
    (package / "model" / "helper.py").write_text("NAME = 'helper'\n")
    (package / "model" / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    (package / "model" / "predictor.py").write_text("NAME = 'the model has a module predictor, too'\n")
    flowers = iris[0][::30]
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", json=rows_of(flowers))
        tensors = running.client.post("/v2/models/model/infer", json={"inputs": []})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["steps"] == ["preprocess", "inference", "postprocess"]
    assert found["labels"] == iris_model.predict(flowers).tolist()
    assert (found["helped"], found["twice"]) == ("helper", 8)
    assert found["own"].startswith("the model has")
    assert found["file"].endswith("model.m")
    assert found["7"] == 0.5
    assert tensors.status_code == 400
    assert "POST /" in tensors.json()["error"]


@pytest.mark.parametrize(
    ("do", "told"),
    [
        ("raise", "KeyError: 'petal_len'"),
        ("exit", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("stop", "StopIteration: done"),
        ("recurse", "RecursionError"),
        ("surrogate", "ValueError: half"),
        ("nan", "NaN or infinity at $.rows[1].a"),
        ("array nan", "NaN or infinity at $.rows[1][1]"),
        ("object", "not JSON"),
        ("bytes", "not JSON"),
        ("cycle", "not JSON"),
        ("large", "at most 67108864 can be sent"),
    ],
)
def test_whatever_model_code_does_is_mr_0105_and_the_server_lives(odd, do, told):
    answer = odd.client.post("/", json={"do": do})
    assert answer.status_code == 500
    assert answer.json()["error_code"] == "MR.0105"
    assert told in answer.json()["error_msg"]
    assert odd.client.post("/", json={"do": "nothing"}).json() == {"fine": True}
    assert odd.process.poll() is None


def test_the_traceback_of_model_code_is_in_the_log(odd):
    odd.client.post("/", json={"do": "raise"})
    assert "customize_service.py" in odd.log
    assert "KeyError: 'petal_len'" in odd.log


def test_a_null_that_the_model_means_stays_null(odd):
    assert odd.client.post("/", json={"do": "null"}).json() == {"rows": [None, "null"]}


def test_own_pre_and_postprocessing_around_the_built_in_inference(digits_onnx, tmp_path):
    code = HEAD + textwrap.dedent(
        """
        import numpy as np
        class Digits(XgSklServingBaseService):
            def _preprocess(self, data):
                return np.full((1, 64), data["fill"], dtype=np.float64)
            def _postprocess(self, data):
                return {"digit": int(data["label"][0])}
        """
    )
    package = make_package(tmp_path / "p", "ONNX", model=digits_onnx, code=code)
    with predictor(package, "ONNX") as running:
        answer = running.client.post("/", json={"fill": 1})
        tensor = {"name": "X", "datatype": "FP32", "shape": [1, 64], "data": [1.0] * 64}
        tensors = running.client.post("/v2/models/model/infer", json={"inputs": [tensor]})
    assert answer.json() == {"digit": tensors.json()["outputs"][0]["data"][0]}


def test_an_empty_subclass_behaves_like_the_built_in_table(iris_model, iris, tmp_path):
    code = HEAD + "class Same(XgSklServingBaseService):\n    pass\n"
    package = make_package(tmp_path / "p", "Scikit_Learn", model=iris_model, code=code, api=table_api())
    flowers = iris[0][::30]
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", json=rows_of(flowers))
    found = [row["predict_result"] for row in answer.json()["data"]["resp_data"]]
    assert found == iris_model.predict(flowers).tolist()


def test_files_arrive_as_the_documented_mapping(tmp_path):
    code = HEAD + textwrap.dedent(
        """
        class Files(XgSklServingBaseService):
            def _preprocess(self, data):
                return {key: self.sizes(value) if isinstance(value, dict) else value
                        for key, value in data.items()}
            def sizes(self, files):
                return {name: len(file.read()) for name, file in files.items()}
            def _inference(self, data):
                return data
            def _postprocess(self, data):
                return data
        """
    )
    schema = {"type": "object", "properties": {"images": {"type": "file"}}}
    api = {"url": "/", "method": "post", "request": {"Content-type": "multipart/form-data", "data": schema}}
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=code, api=api)
    content = np.random.default_rng(0).bytes(300_000)
    with predictor(package, "Scikit_Learn") as running:
        post = running.client.post
        answer = post("/", files={"images": ("图.png", content, "image/png")}, data={"note": "hello"})
        missing = post("/", files={"other": ("a.png", content)})
        text = post("/", data={"images": "x"}, files={"other": ("a", b"")})
        json_body = post("/", json={"images": "x"})
        broken = post(
            "/", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"}
        )
        no_boundary = post("/", content=b"x", headers={"content-type": "multipart/form-data"})
        too_many = post("/", files=[("images", (f"{n}.png", b"")) for n in range(300)])
    assert answer.json() == {"images": {"图.png": 300_000}, "note": "hello"}
    assert missing.status_code == 400
    assert "no “images”" in missing.json()["error_msg"]
    assert text.status_code == 400
    assert "must be a file" in text.json()["error_msg"]
    assert json_body.status_code == 415
    assert [one.status_code for one in (broken, no_boundary, too_many)] == [400, 400, 400]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import nothing_of_this_name\n", "ModuleNotFoundError"),
        ("def broken(:\n", "SyntaxError"),
        ("import sys; sys.exit(0)\n", "SystemExit: 0"),
        (HEAD, "defines no subclass of XgSklServingBaseService"),
        (HEAD + "class A(XgSklServingBaseService): pass\nclass B(XgSklServingBaseService): pass\n", "(A, B)"),
        (HEAD + "class A(XgSklServingBaseService):\n    def __init__(self, p): 1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_code_that_cannot_be_used_ends_the_start_with_its_reason(code, told, tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=code)
    with predictor(package, "Scikit_Learn", wait=False) as running:
        assert running.process.wait(60) == 65
        assert told in running.log.splitlines()[-1]


def test_one_object_never_serves_two_calls_at_once(tmp_path):
    code = HEAD + textwrap.dedent(
        """
        import time
        class Slow(XgSklServingBaseService):
            busy = False
            def _preprocess(self, data):
                assert not self.busy
                self.busy = True
                time.sleep(0.05)
                self.busy = False
                return data["n"]
            def _inference(self, data): return data
            def _postprocess(self, data): return data
        """
    )
    from concurrent.futures import ThreadPoolExecutor

    package = make_package(tmp_path / "p", "Scikit_Learn", model={}, code=code)
    with predictor(package, "Scikit_Learn", "--threads", "4") as running, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: running.client.post("/", json={"n": n}), range(16)))
    assert [answer.json() for answer in answers] == list(range(16))
    assert math.prod(answer.status_code == 200 for answer in answers)
