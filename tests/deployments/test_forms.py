from __future__ import annotations

import pytest
from django.core import signing
from django.http import QueryDict
from django.utils import translation

from console.problems import ProblemError
from deployments import forms, selectors, services
from deployments.forms import ConfigurationForm, DeployForm
from tests.factories import make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]


@pytest.fixture
def versions(workspace, owner):
    return [make_version(workspace, owner), make_version(workspace, owner)]


def sent(version, **changes) -> QueryDict:
    data = QueryDict(mutable=True)
    values = {
        "name": "iris",
        "description": "",
        "version": str(version.pk),
        "specification": services.DEFAULT_SPECIFICATION,
        "instance_count": "2",
        "timeout": "30",
    }
    for name, value in (values | changes).items():
        data.setlist(name, value if isinstance(value, list) else [value])
    return data


def form_of(versions, **changes) -> DeployForm:
    specifications = selectors.open_specifications()
    return DeployForm(sent(versions[0], **changes), versions=versions, specifications=specifications)


def test_a_valid_form_becomes_what_the_service_layer_takes(versions):
    form = form_of(versions, env_key=["A", "", "B"], env_value=["1", "", "x=y"])
    assert form.is_valid(), form.errors
    assert form.target.version_id == versions[0].pk
    assert (form.target.instance_count, form.target.weight) == (2, 100)
    assert form.target.envs == {"A": "1", "B": "x=y"}
    assert form.timeout_seconds == 1800


def test_what_is_fixed_cannot_be_sent(versions):
    form = form_of(versions, weight="10", pool="mine", billing="free")
    assert form.is_valid()
    assert (form.cleaned_data["weight"], form.cleaned_data["pool"]) == (100, "public")
    assert form.cleaned_data["billing"] == "pay-per-use"
    assert form.target.weight == 100


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (["A", "A"], [1]),
        (["PATH"], [0]),
        (["ok", "no-hyphen", "LD_LIBRARY_PATH"], [1, 2]),
        (["", "B"], [0]),
    ],
)
def test_each_row_of_variables_has_its_own_error(versions, keys, wrong):
    form = form_of(versions, env_key=keys, env_value=["v"] * len(keys))
    assert not form.is_valid()
    assert [number for number, row in enumerate(form.rows) if row["error"]] == wrong


def test_versions_are_grouped_by_their_model(versions, workspace, owner):
    newer = make_version(workspace, owner, model=versions[0].model, number="0.0.2")
    form = ConfigurationForm(versions=[newer, *versions], specifications=[])
    _none, first, second = form.fields["version"].choices
    assert first[0] == versions[0].model.name
    assert [label.split()[-1] for _value, label in first[1]] == ["0.0.2", "0.0.1"]
    assert second[0] == versions[1].model.name


def test_the_proposed_name_is_a_valid_one_and_differs():
    proposed = {forms.propose_name() for _ in range(20)}
    assert len(proposed) > 10
    assert all(name.startswith("service-") and len(name) == 12 for name in proposed)


def test_what_was_sealed_comes_back_as_it_was_sent(versions):
    form = form_of(versions, env_key=["A"], env_value=[" 空 "], description="三种")
    assert form.is_valid(), form.errors
    again = DeployForm(
        forms.unsealed(form.sealed()), versions=versions, specifications=selectors.open_specifications()
    )
    assert again.is_valid(), again.errors
    assert again.target == form.target
    assert again.cleaned_data["description"] == "三种"


def test_a_seal_does_not_last_for_ever_and_is_for_this_form_alone(versions, monkeypatch):
    form = form_of(versions)
    assert form.is_valid()
    sealed = form.sealed()
    monkeypatch.setattr(forms, "CONFIRMED_SECONDS", -1)
    for text in (sealed, "", "x", signing.dumps({"fields": {}, "envs": []}, salt="other")):
        with pytest.raises(ProblemError) as error:
            forms.unsealed(text)
        assert error.value.problem.code == "deployments.confirmation.stale"


@pytest.mark.facts(107, 118, 120, 121)
def test_the_labels_are_the_documents_words(versions):
    form = form_of(versions)
    with translation.override("zh-hans"):
        labels = [str(form.fields[name].label) for name in form.fields]
        [(_code, offered)] = form.fields["specification"].choices
    assert labels == [
        "计费模式",
        "名称",
        "描述",
        "资源池",
        "模型及版本",
        "分流（%）",
        "计算节点规格",
        "计算节点个数",
        "超时时间（分钟）",
    ]
    with translation.override("zh-hans"):
        assert str(selectors.open_specifications()[0]) == "CPU 2核 8GiB"
    assert offered == "CPU 2核 8GiB" or offered == "CPU: 2 vCPUs 8 GiB"
