from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest
from django.urls import reverse

from deployments import prediction, services
from deployments.models import Instance, Service
from deployments.prediction import Reply
from tests.deployments.making import make_running, make_service, work_on
from tests.factories import make_version

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("specification")]

SCHEMA = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "properties": {
                "req_data": {
                    "type": "array",
                    "items": [
                        {
                            "type": "object",
                            "properties": {"width": {"type": "number"}, "kind": {"type": ["string", "null"]}},
                        }
                    ],
                }
            },
        }
    },
}
API = {
    "protocol": "http",
    "method": "POST",
    "url": "/",
    "declared": True,
    "request_type": "application/json",
    "response_type": "application/json",
    "request_schema": SCHEMA,
    "response_schema": None,
    "input_params": {},
    "output_params": {},
}


@pytest.fixture
def version(workspace, owner):
    return make_version(workspace, owner, apis=[API])


@pytest.fixture
def page(client, owner):
    """A signed-in browser of the owner."""
    client.force_login(owner)
    return client


def form_of(version, /, **changes):
    return {
        "name": "iris",
        "description": "",
        "version": str(version.pk),
        "specification": services.DEFAULT_SPECIFICATION,
        "instance_count": "1",
        "timeout": "20",
        "env_key": ["MODE", ""],
        "env_value": ["fast", ""],
    } | changes


def sealed_in(response) -> str:
    return re.search(r'name="confirmed" value="([^"]+)"', response.content.decode()).group(1)


def text_of(response) -> str:
    """The page; nothing of the template's own language may be left in it."""
    text = response.content.decode()
    for mark in ("{#", "#}", "{%", "%}", "{{"):
        assert mark not in text, mark
    return text


# Deploying


@pytest.mark.facts(106, 107, 108, 116, 121, 124, 125)
def test_deploying_goes_over_the_confirmation_page(page, version):
    url = reverse("deployments:service_deploy")
    first = page.get(url, {"version": str(version.pk)})
    assert first.status_code == 200
    assert f'value="{version.pk}" selected' in text_of(first)
    assert re.search(r'name="name" value="service-[0-9a-f]{4}"', text_of(first))
    for words in ("Billing Mode", "Pay-per-use", "Public Resource Pool", "Traffic Ratio (%)", "Next"):
        assert words in text_of(first)
    second = page.post(url, form_of(version, instance_count="2"))
    assert second.status_code == 200
    for words in ("Specification Confirmation", "iris", "CPU: 2 vCPUs 8 GiB", "MODE=fast", "Create Now"):
        assert words in text_of(second)
    assert not Service.objects.exists(), "nothing is written before Create Now"
    third = page.post(url, {"go": "create", "confirmed": sealed_in(second)})
    service = Service.objects.get()
    assert third.status_code == 303
    assert third["Location"] == service.get_absolute_url()
    [target] = services.targets_of(service)
    assert (target.instance_count, target.envs) == (2, {"MODE": "fast"})
    assert service.status == "deploying"


def test_previous_keeps_what_was_filled_in(page, version):
    url = reverse("deployments:service_deploy")
    confirmation = page.post(url, form_of(version, description="Three kinds"))
    back = page.post(url, {"go": ["create", "previous"], "confirmed": sealed_in(confirmation)})
    assert back.status_code == 200
    for words in ('value="iris"', "Three kinds", 'value="MODE"', 'value="fast"'):
        assert words in text_of(back)
    assert not Service.objects.exists()


def test_what_was_confirmed_cannot_be_changed_on_the_way(page, version):
    url = reverse("deployments:service_deploy")
    confirmation = page.post(url, form_of(version))
    response = page.post(url, {"go": "create", "confirmed": sealed_in(confirmation)[:-2] + "xx"})
    assert response.status_code == 422
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": "a b"}, "id_name", "cannot be a name"),
        ({"name": ""}, "id_name", "required"),
        ({"description": "x" * 101}, "id_description", "at most 100"),
        ({"description": "a<b"}, "id_description", "not allowed"),
        ({"version": ""}, "id_version", "required"),
        ({"version": str(uuid4())}, "id_version", "Choose a version that is listed"),
        ({"instance_count": "0"}, "id_instance_count", "greater than or equal to 1"),
        ({"instance_count": "129"}, "id_instance_count", "less than or equal to 128"),
        ({"timeout": "2"}, "id_timeout", "greater than or equal to 3"),
        ({"timeout": "121"}, "id_timeout", "less than or equal to 120"),
        ({"specification": "nope"}, "id_specification", "Select a valid choice"),
    ],
)
def test_a_mistake_is_told_at_its_field(page, version, changes, field, words):
    response = page.post(reverse("deployments:service_deploy"), form_of(version, **changes))
    assert response.status_code == 422
    error = re.search(rf'id="{field}_error">(.*?)</div>', text_of(response), re.DOTALL)
    assert error is not None and words in error.group(1)
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("key", "words"),
    [("LD_PRELOAD", "reserved"), ("1ST", "cannot be the name"), ("A B", "cannot be the name")],
)
def test_a_variable_that_is_not_allowed_is_told_in_its_row(page, version, key, words):
    changes = {"env_key": ["FINE", key], "env_value": ["1", "2"]}
    response = page.post(reverse("deployments:service_deploy"), form_of(version, **changes))
    assert response.status_code == 422
    assert words in text_of(response)
    assert 'value="FINE"' in text_of(response)


def test_a_name_that_exists_is_told_before_the_confirmation(page, version, owner, workspace):
    make_service(owner, workspace, name="iris")
    response = page.post(reverse("deployments:service_deploy"), form_of(version))
    assert response.status_code == 422
    assert re.search(r'id="id_name_error">.*?exists already', text_of(response), re.DOTALL)


def test_a_name_that_was_taken_meanwhile_is_told_at_the_end(page, version, owner, workspace):
    url = reverse("deployments:service_deploy")
    confirmation = page.post(url, form_of(version))
    make_service(owner, workspace, name="iris")
    response = page.post(url, {"go": "create", "confirmed": sealed_in(confirmation)})
    assert response.status_code == 422
    assert re.search(r'id="id_name_error">.*?exists already', text_of(response), re.DOTALL)


@pytest.mark.facts(104)
def test_the_twenty_first_service_is_refused(page, version, settings, owner, workspace):
    settings.SLIPWAY_SERVICES_PER_USER = 2
    make_service(owner, workspace)
    make_service(owner, workspace)
    response = page.post(reverse("deployments:service_deploy"), form_of(version))
    assert response.status_code == 422
    assert "2 are allowed" in text_of(response)


def test_more_rows_for_variables_without_a_script(page, version):
    response = page.post(reverse("deployments:service_deploy"), form_of(version, go="add_row", name=""))
    assert response.status_code == 200
    assert 'value="MODE"' in text_of(response)
    assert "id_name_error" not in text_of(response), "nobody has asked to judge the form yet"
    assert text_of(response).count('name="env_key"') == 3


def test_only_normal_versions_for_real_time_are_offered(page, version, workspace, owner):
    failed = make_version(workspace, owner, status="failed")
    batch = make_version(workspace, owner, deployment_types=["batch"])
    content = text_of(page.get(reverse("deployments:service_deploy")))
    assert str(version.pk) in content
    assert str(failed.pk) not in content and str(batch.pk) not in content


def test_without_a_model_the_page_leads_to_the_import(page):
    response = page.get(reverse("deployments:service_deploy"))
    assert "There is no model to deploy" in text_of(response)
    assert reverse("registry:model_import") in text_of(response)


# The list


@pytest.mark.facts(126)
def test_the_list_shows_status_version_and_instances(page, owner, workspace, version, runtime, gateway):
    running = make_running(owner, workspace, version=version, instance_count=2, name="alpha")
    make_service(owner, workspace, version=version, name="beta")
    content = text_of(page.get(reverse("deployments:service_list")))
    assert "Running" in content and "Deploying" in content
    assert "2 of 2" in content and "0 of 1" in content
    assert str(version) in content
    for name in ("modify", "stop", "delete"):
        assert reverse(f"deployments:service_{name}", args=[running.pk]) in content


def test_the_list_costs_the_same_for_one_and_for_many(page, owner, workspace, django_assert_max_num_queries):
    for _ in range(6):
        make_service(owner, workspace)
    page.get(reverse("deployments:service_list"))
    with django_assert_max_num_queries(11):
        page.get(reverse("deployments:service_list"))


def test_the_list_is_searched_and_filtered(page, owner, workspace):
    make_service(owner, workspace, name="alpha")
    make_service(owner, workspace, name="beta")
    url = reverse("deployments:service_list")
    assert "beta" not in text_of(page.get(url, {"q": "alp"}))
    assert "No service matches" in text_of(page.get(url, {"status": "failed"}))
    fragment = page.get(url, {"q": "alp"}, headers={"HX-Request": "true"})
    assert "<html" not in text_of(fragment) and "alpha" in text_of(fragment)


def test_a_poll_without_news_answers_204(page, owner, workspace):
    service = make_service(owner, workspace)
    for url in (reverse("deployments:service_list"), service.get_absolute_url()):
        first = text_of(page.get(url, headers={"HX-Request": "true"}))
        tag = re.search(r"[?&;]tag=([^&\"]*)\"", first).group(1)
        again = page.get(url, {"tag": tag}, headers={"HX-Request": "true"})
        assert again.status_code == 204
        Service.objects.filter(pk=service.pk).update(progress=55)
        assert page.get(url, {"tag": tag}, headers={"HX-Request": "true"}).status_code == 200
        Service.objects.filter(pk=service.pk).update(progress=0)


def test_an_empty_list_names_the_next_step(page):
    content = text_of(page.get(reverse("deployments:service_list")))
    assert "There are no real-time services yet" in content
    assert reverse("deployments:service_deploy") in content


# The page of a service


@pytest.mark.parametrize(
    "tab", ["", "guides", "prediction", "updates", "instances", "events", "logs", "nonsense"]
)
def test_every_tab_is_a_whole_page(page, owner, workspace, version, runtime, gateway, tab):
    service = make_running(owner, workspace, version=version, envs={"MODE": "fast"})
    response = page.get(service.get_absolute_url(), {"tab": tab})
    assert response.status_code == 200
    assert "<html" in text_of(response) and service.name in text_of(response)


@pytest.mark.facts(137)
def test_the_guide_shows_address_key_and_parameters(page, owner, workspace, version, runtime, gateway):
    service = make_running(owner, workspace, version=version)
    content = text_of(page.get(service.get_absolute_url()))
    assert f"/v1/infers/{service.pk}" in content
    assert service.keys.get().secret in content
    assert "data.req_data" in content and "curl -sS -X POST" in content and "import requests" in content


def test_the_updates_tell_who_and_what_became_of_it(page, owner, workspace, version, runtime, gateway):
    service = make_running(owner, workspace, version=version)
    services.scale(actor=owner, service=service, instance_count=2)
    service = work_on(service)
    content = text_of(page.get(service.get_absolute_url(), {"tab": "updates"}))
    assert content.count("Succeeded") == 2
    assert "Current" in content and str(owner) in content
    back = reverse("deployments:service_roll_back", args=[service.pk, 1])
    assert back in content
    assert page.post(back).status_code == 303
    service = work_on(service)
    assert (service.status, service.wanted_revision) == ("running", 3)
    assert len(runtime.instances) == 1


def test_events_are_filtered(page, owner, workspace, runtime, gateway):
    service = work_on(make_service(owner, workspace, envs={"BEHAVIOUR": "crash"}))
    url = service.get_absolute_url()
    assert (
        "exit status 3"
        not in text_of(page.get(url, {"tab": "events", "kind": "normal"})).partition('class="events"')[2]
    )
    abnormal = text_of(page.get(url, {"tab": "events", "kind": "abnormal"})).partition('class="events"')[2]
    assert "exit status 3" in abnormal and "The deployment starts." not in abnormal


def test_logs_of_each_instance_can_be_read(page, owner, workspace, runtime, gateway):
    service = make_running(owner, workspace, instance_count=2)
    name = sorted(runtime.instances)[1]
    content = text_of(page.get(service.get_absolute_url(), {"tab": "logs", "instance": name, "minutes": "5"}))
    assert f'value="{name}" selected' in content and 'value="5" selected' in content
    assert "starting" in content.partition('id="service-log"')[2]


def test_an_abnormal_service_shows_cause_and_fix(page, owner, workspace, runtime, gateway):
    service = work_on(make_service(owner, workspace, envs={"BEHAVIOUR": "crash"}))
    content = text_of(page.get(service.get_absolute_url()))
    assert 'data-problem="deployments.service.kept_crashing"' in content
    assert reverse("deployments:service_start", args=[service.pk]) in content


# Acts


def test_stop_asks_and_tells_the_consequences(page, owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    url = reverse("deployments:service_stop", args=[service.pk])
    assert "answers 503" in text_of(page.get(url))
    assert page.post(url).status_code == 303
    service = work_on(service)
    assert service.status == "stopped"
    assert page.post(reverse("deployments:service_start", args=[service.pk])).status_code == 303
    assert work_on(service).status == "running"


@pytest.mark.facts(134)
def test_delete_wants_the_name_typed(page, owner, workspace, runtime, gateway):
    service = make_running(owner, workspace)
    url = reverse("deployments:service_delete", args=[service.pk])
    assert "cannot be brought back" in text_of(page.get(url))
    assert page.post(url, {"typed_name": "other"}).status_code == 422
    assert page.post(url, {"typed_name": service.name}).status_code == 303
    work_on(service)
    assert not Service.objects.exists()


@pytest.mark.facts(131)
@pytest.mark.parametrize("act", ["modify", "start", "delete"])
def test_while_deploying_acts_are_refused_with_the_reason(page, owner, workspace, act):
    service = make_service(owner, workspace)
    url = reverse(f"deployments:service_{act}", args=[service.pk])
    response = page.post(url, {"typed_name": service.name})
    assert response.status_code == 409
    assert "ModelArts.3519" in text_of(response) and "Deploying" in text_of(response)


@pytest.mark.facts(132)
def test_modify_keeps_the_present_values_and_makes_a_new_configuration(
    page, owner, workspace, version, runtime, gateway
):
    service = make_running(owner, workspace, version=version, envs={"MODE": "fast"})
    url = reverse("deployments:service_modify", args=[service.pk])
    content = text_of(page.get(url))
    assert f'value="{version.pk}" selected' in content and 'value="MODE"' in content
    assert page.post(url, form_of(version)).status_code == 303
    assert Service.objects.get().wanted_revision == 1, "nothing was changed"
    assert page.post(url, form_of(version, instance_count="2")).status_code == 303
    assert Service.objects.get().wanted_revision == 2
    assert page.post(url, form_of(version, instance_count="2")).status_code == 409


def test_the_description_is_edited_in_its_place(page, owner, workspace):
    service = make_service(owner, workspace)
    url = reverse("deployments:service_describe", args=[service.pk])
    assert page.post(url, {"description": "a<b"}).status_code == 422
    assert page.post(url, {"description": "Three kinds"}).status_code == 303
    assert Service.objects.get().description == "Three kinds"


# The Prediction tab


@pytest.fixture
def called(monkeypatch):
    """What was sent through the gateway; the answer is made up."""
    calls = []

    def call(service_id, key, **sent):
        calls.append({"service_id": service_id, "key": key, **sent})
        return Reply(200, 12.5, "0.0.1", '{\n  "kind": "setosa"\n}', True)

    monkeypatch.setattr(prediction, "call", call)
    return calls


@pytest.mark.facts(138)
def test_the_form_is_made_from_the_declared_schema(page, owner, workspace, version, runtime, gateway, called):
    service = make_running(owner, workspace, version=version)
    content = text_of(page.get(service.get_absolute_url(), {"tab": "prediction"}))
    assert 'name="f:/data/req_data/0/width"' in content
    assert "data.req_data[0].width" in content
    url = reverse("deployments:service_predict", args=[service.pk])
    sent = {"path": "/", "f:/data/req_data/0/width": "1.5", "f:/data/req_data/0/kind": "x"}
    answer = page.post(url, sent)
    assert answer.status_code == 200
    assert "setosa" in text_of(answer) and "12.5" in text_of(answer) and "0.0.1" in text_of(answer)
    assert "<html" in text_of(answer)
    assert 'value="1.5"' in text_of(answer), "what was typed stays"
    [call] = called
    assert json.loads(call["body"]) == {"data": {"req_data": [{"width": 1.5, "kind": "x"}]}}
    assert call["key"] == service.keys.get().secret
    fragment = page.post(url, sent, headers={"HX-Request": "true"})
    assert "<html" not in text_of(fragment) and "setosa" in text_of(fragment)


def test_the_editor_sends_its_text(page, owner, workspace, version, runtime, gateway, called):
    service = make_running(owner, workspace, version=version)
    url = reverse("deployments:service_predict", args=[service.pk])
    assert page.post(url, {"path": "/", "body": '{"a": 1}'}).status_code == 200
    assert called[0]["body"] == b'{"a": 1}'
    refused = page.post(url, {"path": "/", "body": "{"})
    assert refused.status_code == 422 and "not valid JSON" in text_of(refused)
    wrong = page.post(url, {"path": "/", "f:/data/req_data/0/width": "wide"})
    assert wrong.status_code == 422 and "is not a value of the type number" in text_of(wrong)
    assert len(called) == 1
    assert page.post(url, {"path": "/other", "body": "{}"}).status_code == 400


@pytest.mark.facts(139, 152)
def test_a_file_model_gets_an_upload(page, owner, workspace, runtime, gateway, called, settings):
    from django.core.files.uploadedfile import SimpleUploadedFile

    schema = {"type": "object", "properties": {"images": {"type": "file"}}}
    api = API | {"request_type": "multipart/form-data", "request_schema": schema}
    service = make_running(owner, workspace, version=make_version(workspace, owner, apis=[api]))
    content = text_of(page.get(service.get_absolute_url(), {"tab": "prediction"}))
    assert 'type="file"' in content and "JSON editor" not in content
    url = reverse("deployments:service_predict", args=[service.pk])
    image = SimpleUploadedFile("cat.png", b"\x89PNG", "image/png")
    assert page.post(url, {"path": "/", "f:/images": image}).status_code == 200
    [call] = called
    assert call["content_type"].startswith("multipart/form-data; boundary=")
    assert b'name="images"; filename="cat.png"' in call["body"] and b"\x89PNG" in call["body"]
    settings.SLIPWAY_PREDICTION_PAGE_BYTES = 3
    image = SimpleUploadedFile("cat.png", b"\x89PNG", "image/png")
    refused = page.post(url, {"path": "/", "f:/images": image})
    assert refused.status_code == 422 and "larger than" in text_of(refused)


def test_a_gateway_that_does_not_answer_is_told(page, owner, workspace, version, runtime, gateway, settings):
    settings.SLIPWAY_GATEWAY_PORT = 1  # nothing listens there
    service = make_running(owner, workspace, version=version)
    url = reverse("deployments:service_predict", args=[service.pk])
    response = page.post(url, {"path": "/", "body": "{}"})
    assert "The gateway did not answer" in text_of(response)


# Who may


def urls_of(service: Service) -> list[tuple[str, str]]:
    names = ["modify", "start", "stop", "delete", "describe"]
    acts = [("post", reverse(f"deployments:service_{name}", args=[service.pk])) for name in names]
    return [
        ("get", service.get_absolute_url()),
        *acts,
        ("post", reverse("deployments:service_roll_back", args=[service.pk, 1])),
        ("post", reverse("deployments:service_predict", args=[service.pk])),
        ("get", reverse("deployments:service_openapi", args=[service.pk])),
        *[
            ("get", reverse(f"deployments:service_{name}", args=[service.pk]))
            for name in names
            if name != "start"
        ],
    ]


def test_nobody_gets_in_without_signing_in(client, owner, workspace):
    service = make_service(owner, workspace)
    public = [("get", reverse("deployments:service_list")), ("post", reverse("deployments:service_deploy"))]
    for method, url in [*urls_of(service), *public]:
        response = getattr(client, method)(url)
        assert response.status_code == 302 and "/sign-in/" in response["Location"], url


def test_a_stranger_gets_404_everywhere(client, stranger, owner, workspace):
    service = make_service(owner, workspace)
    client.force_login(stranger)
    for method, url in urls_of(service):
        assert getattr(client, method)(url).status_code == 404, url
    assert service.name not in text_of(client.get(reverse("deployments:service_list")))


def test_a_stranger_cannot_deploy_another_workspaces_version(client, stranger, version):
    client.force_login(stranger)
    response = client.post(reverse("deployments:service_deploy"), form_of(version))
    assert response.status_code == 422
    assert not Service.objects.exists()


def test_a_viewer_looks_and_predicts_and_changes_nothing(
    client, viewer, owner, workspace, version, runtime, gateway, called
):
    service = make_running(owner, workspace, version=version)
    client.force_login(viewer)
    content = text_of(client.get(service.get_absolute_url()))
    for name in ("modify", "stop", "delete"):
        assert reverse(f"deployments:service_{name}", args=[service.pk]) not in content
    url = reverse("deployments:service_predict", args=[service.pk])
    assert client.post(url, {"path": "/", "body": "{}"}).status_code == 200
    for name in ("modify", "start", "stop", "delete", "describe"):
        url = reverse(f"deployments:service_{name}", args=[service.pk])
        assert client.post(url, {"typed_name": service.name}).status_code == 403, name
    assert client.post(reverse("deployments:service_roll_back", args=[service.pk, 1])).status_code == 403
    assert client.post(reverse("deployments:service_deploy"), form_of(version)).status_code == 403
    assert Service.objects.get().status == "running"
    assert Instance.objects.count() == 1


def test_another_developer_may_look_but_not_change(client, owner, workspace, runtime, gateway):
    from console.models import Role
    from tests.factories import make_user

    service = make_running(owner, workspace)
    client.force_login(make_user(workspace, Role.DEVELOPER))
    assert client.get(service.get_absolute_url()).status_code == 200
    assert reverse("deployments:service_stop", args=[service.pk]) not in text_of(
        client.get(reverse("deployments:service_list"))
    )
    assert client.post(reverse("deployments:service_stop", args=[service.pk])).status_code == 403
