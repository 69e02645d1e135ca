"""What can be wrong with the files and the inference code of a package (facts §2.1, §2.2, §2.9, §3.7)."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from console.problems import register

LAYOUT = "ModelArts.3017"  # the source path does not follow the package rules

_FILES = _("The package does not follow the layout rules")
_CODE = _("The inference code is not valid")
_NOTE = _("Please note")


def _layout(reason: str, cause: str | Promise, fix: str | Promise) -> None:
    register(f"registry.package.{reason}", title=_FILES, cause=cause, fix=fix, documented=LAYOUT)


def _code(reason: str, cause: str | Promise, fix: str | Promise) -> None:
    register(f"registry.package.{reason}", title=_CODE, cause=cause, fix=fix, documented=LAYOUT)


def _note(reason: str, cause: str | Promise, fix: str | Promise = "") -> None:
    register(f"registry.package.{reason}", title=_NOTE, cause=cause, fix=fix)


# --- files ---------------------------------------------------------------------------------------------

_layout(
    "subpath_missing",
    _("The chosen folder has no sub-folder model."),
    _("Choose the parent of the folder model, and name that folder exactly model."),
)
_layout(
    "model_chosen",
    _("The chosen folder looks like the folder model itself: it holds %(found)s."),
    _("Choose the parent of the folder model."),
)
_layout(
    "model_file_missing",
    _("The folder model holds no model file of the type %(engine)s, which has the suffix %(suffix)s."),
    _("Put the model file into the folder model, or correct model_type in config.json."),
)
_layout(
    "model_file_more_than_one",
    _("There is more than one model file of the type %(engine)s: %(files)s."),
    _("Keep exactly one file with the suffix %(suffix)s."),
)
_layout(
    "model_file_misplaced",
    _("The model file %(found)s is not directly in the folder model."),
    _("Move the file into the folder model."),
)
_layout(
    "model_file_empty",
    _("The model file %(found)s is empty."),
    _("Upload the file again."),
)
_layout(
    "config_missing",
    _("There is no model/config.json, and the files do not tell the engine."),
    _("Add config.json to the folder model; only a bare .onnx file needs none."),
)
_layout(
    "config_misplaced",
    _("config.json must be model/config.json, but was found at %(found)s."),
    _("Move or rename it to model/config.json."),
)
_layout(
    "config_more_than_one",
    _("There is more than one config.json in the folder model: %(files)s."),
    _("Keep only model/config.json."),
)
_layout(
    "wheel_missing",
    _("config.json asks for the wheel %(found)s, which is not in the folder model."),
    _("Put the wheel beside the model file, or name a package of the package index."),
)
_layout(
    "too_many_files",
    _("The package has %(count)s files; at most %(limit)s can be imported."),
    _("Keep only what the model needs in the folder model."),
)
_layout(
    "path_absolute",
    _("The path %(value)s is absolute."),
    _("Use paths below the chosen folder."),
)
_layout(
    "path_climbs",
    _("The path %(value)s has an empty part, or the part . or .., in it."),
    _("Rename the object."),
)
_layout(
    "path_characters",
    _(
        "The path %(value)s holds a backslash, a control character or another character that cannot be "
        "stored."
    ),
    _("Rename the object."),
)
_layout(
    "path_too_long",
    _("The path %(value)s is too long: at most 1024 bytes, and 255 between two slashes."),
    _("Rename the object."),
)
_layout(
    "path_duplicate",
    _("The path %(value)s stands for the same file as another one."),
    _("Rename or remove one of the two objects."),
)
_layout(
    "path_conflict",
    _("%(value)s is both a file and a folder."),
    _("Rename or remove one of the two objects."),
)

# --- inference code ------------------------------------------------------------------------------------

_code(
    "code_misplaced",
    _("customize_service.py must be model/customize_service.py, but was found at %(found)s."),
    _("Move it to model/customize_service.py."),
)
_code(
    "code_more_than_one",
    _("There is more than one customize_service.py in the folder model: %(files)s."),
    _("Keep only model/customize_service.py; other modules may have any other name."),
)
_code(
    "code_required",
    _("Models of type %(engine)s need model/customize_service.py."),
    _("Add inference code with a class derived from %(base)s."),
)
_code(
    "code_not_supported",
    _("Models of type %(engine)s take no customize_service.py."),
    _("Remove the file, or use an engine with inference code."),
)
_code(
    "code_too_large",
    _("customize_service.py has %(size)s bytes; at most %(limit)s are read."),
    _("Move tables and data into files of their own in the folder model."),
)
_code(
    "code_not_utf8",
    _("customize_service.py cannot be read as text: %(detail)s."),
    _("Save the file as UTF-8."),
)
_code(
    "code_not_python",
    _("customize_service.py is not valid Python. Line %(line)s: %(detail)s."),
    _("Correct the line; the code must run on Python %(python)s."),
)
_code(
    "code_too_complex",
    _("customize_service.py is nested too deeply to be checked."),
    _("Split the longest expressions."),
)
_code(
    "code_class_missing",
    _("customize_service.py defines no class derived from %(base)s of %(import_path)s."),
    _("Import the base class with: from %(import_path)s import %(base)s, and derive one class from it."),
)
_code(
    "code_class_more_than_one",
    _("customize_service.py defines more than one class derived from %(base)s: %(names)s."),
    _("Keep one of them."),
)
_code(
    "code_override_missing",
    _("The class %(name)s in customize_service.py must define %(method)s for models of type %(engine)s."),
    _("Define %(method)s; it loads the model."),
)
_code(
    "code_signature",
    _(
        "%(method)s of the class %(name)s, line %(line)s, does not take exactly these arguments: "
        "%(expected)s."
    ),
    _("Change the arguments of the method."),
)

# --- worth knowing, no reason to refuse ----------------------------------------------------------------

_note(
    "runtime_aliased",
    _(
        "config.json asks for the runtime %(runtime)s, which is not offered any more; %(used)s is used "
        "in its place."
    ),
    _("Test the version before you deploy it, or save the model again with the newer runtime."),
)
_note(
    "distribution_replaced",
    _("The dependency %(name)s is met by %(used)s, which the runtime brings."),
)
