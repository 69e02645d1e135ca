"""The pages below `/services/`. Ids are UUIDs, so what begins with `+` is ours."""

from __future__ import annotations

from django.urls import path

from deployments.views import acts, deploying, details, lists, predictions

app_name = "deployments"

urlpatterns = [
    path("", lists.service_list, name="service_list"),
    path("+deploy/", deploying.service_deploy, name="service_deploy"),
    path("<uuid:pk>/", details.service_detail, name="service_detail"),
    path("<uuid:pk>/modify/", deploying.service_modify, name="service_modify"),
    path("<uuid:pk>/start/", acts.service_start, name="service_start"),
    path("<uuid:pk>/stop/", acts.service_stop, name="service_stop"),
    path("<uuid:pk>/delete/", acts.service_delete, name="service_delete"),
    path("<uuid:pk>/description/", acts.service_describe, name="service_describe"),
    path("<uuid:pk>/revisions/<int:number>/", acts.service_roll_back, name="service_roll_back"),
    path("<uuid:pk>/predict/", predictions.service_predict, name="service_predict"),
    path("<uuid:pk>/openapi/", predictions.service_openapi, name="service_openapi"),
]
