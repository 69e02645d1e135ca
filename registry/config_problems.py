"""What can be wrong with config.json (facts §2.4-2.7)."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.problems import register

VIOLATES = "ModelArts.3015"  # config.json does not follow the specification
UNSUPPORTED = "ModelArts.3016"  # a field, type or format that is not supported

_TITLE = _("config.json is not valid")


def _config(reason: str, cause: str | Promise, fix: str | Promise, documented: str = VIOLATES) -> None:
    register(f"registry.package.{reason}", title=_TITLE, cause=cause, fix=fix, documented=documented)


# --- config.json as a text -----------------------------------------------------------------------------

_config(
    "config_empty",
    _("config.json is empty."),
    _("Write at least model_type and model_algorithm into it."),
)
_config(
    "config_too_large",
    _("config.json has %(size)s bytes; at most %(limit)s are read."),
    _("Keep only the description of the model in config.json."),
)
_config(
    "config_bom",
    _("config.json begins with a byte order mark."),
    _("Save the file as UTF-8 without a byte order mark."),
)
_config(
    "config_not_utf8",
    _("config.json is not UTF-8: byte %(position)s does not fit."),
    _("Save the file as UTF-8."),
)
_config(
    "config_not_json",
    _("config.json is not JSON. Line %(line)s, column %(column)s: %(detail)s."),
    _("Correct the file at this place; comments and trailing commas are not JSON."),
)
_config(
    "config_too_deep",
    _("config.json is nested more than %(limit)s levels deep."),
    _("Describe the request and response bodies with fewer levels."),
)
_config(
    "config_not_object",
    _("config.json holds %(value)s instead of a JSON object."),
    _("Put braces around the keys of config.json."),
)
_config(
    "key_duplicate",
    _("The key %(path)s stands in config.json more than once."),
    _("Keep one of them."),
)
_config(
    "text_illegal",
    _("%(path)s in config.json holds characters that cannot be stored: %(value)s."),
    _("Remove NUL characters and incomplete surrogate pairs."),
)
_config(
    "number_out_of_range",
    _("%(path)s in config.json is a number that is too large: %(value)s."),
    _("Use a smaller number."),
)

# --- its keys ------------------------------------------------------------------------------------------

_config(
    "key_unknown",
    _("config.json has an unknown key %(path)s."),
    _("Remove it. These keys are known here: %(allowed)s."),
    UNSUPPORTED,
)
_config(
    "key_missing",
    _("config.json lacks the key %(path)s."),
    _("Add the key."),
)
_config(
    "type_wrong",
    _("%(path)s in config.json is %(value)s; its JSON type must be: %(expected)s."),
    _("Change the value to this type."),
    UNSUPPORTED,
)
_config(
    "value_illegal",
    _("%(path)s in config.json is %(value)s, which is not allowed."),
    _("Use one of: %(allowed)s."),
    UNSUPPORTED,
)
_config(
    "model_algorithm_illegal",
    _("%(path)s in config.json is %(value)s, which is not allowed."),
    _(
        "Begin with an English letter and use at most 36 characters, without Chinese and without & ! ' "
        '" < > =.'
    ),
)
_config(
    "engine_unknown",
    _("%(path)s in config.json names the unknown engine %(value)s."),
    _("Use one of: %(allowed)s."),
    UNSUPPORTED,
)
_config(
    "engine_not_offered",
    _(
        "%(engine)s is a documented engine, but this installation does not offer it yet. Its packages "
        "hold: %(layout)s."
    ),
    _("Convert the model to one of the engines offered here: %(offered)s."),
    UNSUPPORTED,
)
_config(
    "runtime_unknown",
    _("%(path)s in config.json is %(value)s, which is no runtime of %(engine)s."),
    _("Leave the key out for the newest runtime, or use one of: %(allowed)s."),
    UNSUPPORTED,
)
_config(
    "runtime_on_image",
    _("%(path)s is set in config.json, but a model of type Image brings its own runtime."),
    _("Remove the key runtime."),
)
_config(
    "swr_location_on_model",
    _("%(path)s is set in config.json, but only models of type Image may carry it."),
    _("Remove the key swr_location."),
)
_config(
    "swr_location_missing",
    _(
        "config.json lacks %(path)s, which a model of type Image needs when it is imported from object "
        "storage."
    ),
    _("Add swr_location with the address of the image."),
)
_config(
    "swr_location_illegal",
    _("%(path)s in config.json is %(value)s, which is not the address of an image."),
    _("Write it as registry/organization/image:tag, without spaces."),
)
_config(
    "only_for_image",
    _("%(path)s is set in config.json, but only models of type Image may set it."),
    _("Remove the key."),
)
_config(
    "dependencies_on_image",
    _("%(path)s is set in config.json, but a model of type Image must not list dependencies."),
    _("Remove the key and install the packages in the image."),
)
_config(
    "metric_illegal",
    _("%(path)s in config.json is %(value)s, which is not a number that can be kept."),
    _("Write the metric as a plain number, such as 0.93."),
)

# --- apis ----------------------------------------------------------------------------------------------

_config(
    "api_count",
    _("config.json declares %(count)s APIs at %(path)s; a model of type %(engine)s has exactly one."),
    _("Declare one API with the url /, or leave apis out."),
)
_config(
    "api_url_not_root",
    _("%(path)s in config.json is %(value)s; the API of a model of type %(engine)s is always at /."),
    _("Write / as the url, or leave it out."),
)
_config(
    "url_illegal",
    _("%(path)s in config.json is %(value)s, which is not a path."),
    _("Begin with / and use no spaces, no .. and no query."),
)
_config(
    "api_duplicate",
    _("%(path)s in config.json declares %(method)s %(url)s a second time."),
    _("Give every API its own path."),
)
_config(
    "content_type_not_json",
    _("%(path)s in config.json is %(value)s; models of type %(engine)s take and give only application/json."),
    _("Write application/json, or leave the key out."),
)
_config(
    "schema_illegal",
    _("%(path)s in config.json is not valid in a JSON Schema: %(keyword)s is %(value)s."),
    _("What may stand there: %(expected)s."),
)
_config(
    "schema_reference",
    _(
        "%(path)s in config.json refers to %(value)s, which is not a definition of the same schema or "
        "leads in a circle."
    ),
    _("Refer only to entries below definitions or $defs of the same schema, or write the schema out."),
)
_config(
    "file_needs_form_data",
    _("%(path)s in config.json is a file, but a JSON body cannot carry files."),
    _("Set the Content-type beside data to multipart/form-data."),
)
_config(
    "form_needs_object",
    _("%(path)s in config.json is %(value)s, but a form consists of named fields."),
    _("Describe multipart/form-data by an object with properties."),
)
_config(
    "health_seconds_illegal",
    _("%(path)s in config.json is %(value)s, which is not a number of seconds or attempts."),
    _("Write a whole number from %(least)s to 2147483647."),
)

# --- dependencies --------------------------------------------------------------------------------------

_config(
    "installer_not_offered",
    _("%(path)s in config.json is %(value)s; packages are installed with pip only."),
    _("Write pip as the installer."),
    UNSUPPORTED,
)
_config(
    "package_name_illegal",
    _("%(path)s in config.json is %(value)s, which is not the name of a package."),
    _(
        "Use letters, digits, -, _ and ., without Chinese and without & ! ' \" < > =; the version has "
        "its own key."
    ),
)
_config(
    "package_version_illegal",
    _("%(path)s in config.json is %(value)s, which is not a version that %(restraint)s can compare."),
    _("Write a version such as 1.16.4, without Chinese and without & ! ' \" < > =."),
)
_config(
    "restraint_missing",
    _("config.json lacks %(path)s, which a package needs when its version is given."),
    _("Add restraint: EXACT, ATLEAST or ATMOST."),
)
_config(
    "restraint_without_version",
    _("%(path)s is set in config.json although the package has no version."),
    _("Add package_version, or remove restraint."),
)
_config(
    "more",
    _("There are %(count)s more problems of this kind in the package."),
    _("Correct the ones above, then check again."),
)
