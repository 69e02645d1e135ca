"""The pages below `/models/`. Names begin without `+`, so what begins with it is ours."""

from __future__ import annotations

from django.urls import path, register_converter

from registry.converters import ModelNameConverter, VersionNumberConverter
from registry.views import connections, imports, models, versions

register_converter(ModelNameConverter, "model_name")
register_converter(VersionNumberConverter, "version_number")

app_name = "registry"

_version = "<model_name:name>/<version_number:number>/"

urlpatterns = [
    path("", models.model_list, name="model_list"),
    path("+import/", imports.model_import, name="model_import"),
    path("+import/number/", imports.number_hint, name="model_import_number"),
    path("+connections/", connections.connection_list, name="connection_list"),
    path("+connections/+create/", connections.connection_create, name="connection_create"),
    path("+connections/<uuid:pk>/", connections.connection_change, name="connection_change"),
    path("+connections/<uuid:pk>/delete/", connections.connection_delete, name="connection_delete"),
    path("+connections/<uuid:pk>/test/", connections.connection_test, name="connection_test"),
    path("+versions/<uuid:pk>/", versions.version_by_id, name="version_detail"),
    path("<model_name:name>/", models.model_detail, name="model_detail"),
    path("<model_name:name>/delete/", models.model_delete, name="model_delete"),
    path("<model_name:name>/description/", models.model_describe, name="model_describe"),
    path(_version, versions.version_detail, name="version_detail"),
    path(f"{_version}delete/", versions.version_delete, name="version_delete"),
    path(f"{_version}retry/", versions.version_retry, name="version_retry"),
    path(f"{_version}cancel/", versions.version_cancel, name="version_cancel"),
    path(f"{_version}description/", versions.version_describe, name="version_describe"),
]
