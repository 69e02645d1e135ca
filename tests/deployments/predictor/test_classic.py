"""XGBoost and Scikit_Learn without own code: the documented table, equal to the library itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from .conftest import FEATURES, make_package, predictor, rows_of, table_api

SCORED = {"predict_result": {"type": "number"}, "probabilities": {"type": "array"}}


def results(answer) -> list:
    assert answer.status_code == 200, answer.text
    return [row["predict_result"] for row in answer.json()["data"]["resp_data"]]


@pytest.fixture(scope="module")
def flowers(iris) -> np.ndarray:
    return iris[0][::10]


def test_an_estimator_answers_its_own_predictions_and_declared_probabilities(iris_model, flowers, tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model=iris_model, api=table_api(SCORED))
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", json={**rows_of(flowers), "meta": {"uuid": "u-1"}})
        shuffled = [dict(reversed(row.items())) for row in rows_of(flowers)["data"]["req_data"]]
        other_order = running.client.post("/", json={"data": {"req_data": shuffled}})
        tensors = running.client.post(
            "/v2/models/model/infer",
            json={
                "inputs": [
                    {
                        "name": "input-0",
                        "datatype": "FP64",
                        "shape": list(flowers.shape),
                        "data": flowers.tolist(),
                    }
                ],
                "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
            },
        )
    assert results(answer) == iris_model.predict(flowers).tolist()
    assert [row["probabilities"] for row in answer.json()["data"]["resp_data"]] == (
        iris_model.predict_proba(flowers).tolist()
    )
    assert answer.json()["meta"] == {"uuid": "u-1"}
    assert results(other_order) == results(answer)
    labels, scores = tensors.json()["outputs"]
    assert labels["data"] == iris_model.predict(flowers).tolist()
    assert scores["shape"] == [len(flowers), 3]
    assert scores["data"] == iris_model.predict_proba(flowers).ravel().tolist()


def test_text_labels_and_a_plain_pickle_and_no_declared_api(iris, flowers, tmp_path):
    names = np.array(["setosa", "versicolor", "virginica"])
    model = SVC().fit(iris[0], names[iris[1]])
    package = make_package(tmp_path / "p", "Scikit_Learn", model=pickle.dumps(model))
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", json=rows_of(flowers))
        short = running.client.post("/", json={"data": {"req_data": [{"a": 1}]}})
    assert results(answer) == model.predict(flowers).tolist()
    assert "probabilities" not in answer.json()["data"]["resp_data"][0]
    assert short.status_code == 400
    assert "takes 4 features and a row has 1" in short.json()["error_msg"]


def test_a_declared_text_result_is_text_and_a_regression_is_a_number(iris, flowers, tmp_path):
    model = LinearRegression().fit(iris[0], iris[1].astype(float))
    package = make_package(
        tmp_path / "p", "Scikit_Learn", model=model, api=table_api({"predict_result": {"type": "string"}})
    )
    with predictor(package, "Scikit_Learn") as running:
        answer = running.client.post("/", json=rows_of(flowers))
    assert results(answer) == [str(value) for value in model.predict(flowers)]


def boosters(folder: Path, iris) -> dict[str, tuple[bytes, xgboost.XGBClassifier]]:
    model = xgboost.XGBClassifier(n_estimators=4).fit(*iris)
    native = {}
    for suffix in ("json", "ubj"):
        path = folder / f"model.{suffix}"
        model.get_booster().save_model(path)
        native[suffix] = path.read_bytes()
    return {
        "json": (native["json"], model),
        "ubj": (native["ubj"], model),
        "pickled booster": (pickle.dumps(model.get_booster()), model),
        "pickled wrapper": (pickle.dumps(model), model),
    }


@pytest.mark.parametrize("kind", ["json", "ubj", "pickled booster", "pickled wrapper"])
def test_every_content_of_an_xgboost_file_predicts_like_the_library(kind, iris, flowers, tmp_path):
    content, model = boosters(tmp_path, iris)[kind]
    package = make_package(tmp_path / "p", "XGBoost", model=content, api=table_api(SCORED))
    with predictor(package, "XGBoost") as running:
        answer = running.client.post("/", json=rows_of(flowers))
        missing_value = rows_of(flowers[:1])
        missing_value["data"]["req_data"][0].pop("petal_wid")
        refused = running.client.post("/", json=missing_value)
    assert results(answer) == model.predict(flowers).tolist()
    got = np.array([row["probabilities"] for row in answer.json()["data"]["resp_data"]], dtype=np.float32)
    assert np.array_equal(got, model.predict_proba(flowers))
    assert refused.status_code == 400
    assert "$.data.req_data[0]" in refused.json()["error_msg"]


def test_a_booster_knows_its_feature_names_better_than_the_order_of_the_schema(iris, flowers, tmp_path):
    table, target = iris
    booster = xgboost.train(
        {"objective": "reg:squarederror"},
        xgboost.DMatrix(table, target, feature_names=list(FEATURES)),
        num_boost_round=3,
    )
    booster.save_model(tmp_path / "m.json")
    api = table_api(features=tuple(reversed(FEATURES)))
    package = make_package(tmp_path / "p", "XGBoost", model=(tmp_path / "m.json").read_bytes(), api=api)
    with predictor(package, "XGBoost") as running:
        answer = running.client.post("/", json=rows_of(flowers))
    expected = booster.predict(xgboost.DMatrix(flowers, feature_names=list(FEATURES)))
    assert np.array_equal(np.array(results(answer), dtype=np.float32), expected)


def test_an_object_without_predict_is_refused_with_its_type(tmp_path):
    package = make_package(tmp_path / "p", "Scikit_Learn", model={"weights": [1, 2]})
    with predictor(package, "Scikit_Learn", wait=False) as running:
        assert running.process.wait(60) == 65
        assert "holds an object of type dict, which has no method predict" in running.log
