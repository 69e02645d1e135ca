"""What can go wrong with models and versions, told with cause and fix.

The problems of config.json, packages and typed values are in siblings; importing this module registers all.
Documented codes are those of facts §3.7. Conflicts answer 409 also where the documents say 500: a refusal
is no fault of the server.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext_lazy as _

from console.problems import Problem, register


class PackageProblems(Exception):
    """Everything that is wrong with a package or its config.json: at least one Problem, in document order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(", ".join(problem.code for problem in self.problems))


_CHOOSE_PARENT = _("Choose the folder that holds the folder model, and check the spelling.")

# --- models and versions -------------------------------------------------------------------------------

register(
    "registry.version.duplicate",
    title=_("This version exists already"),
    cause=_("The model %(name)s already has a version %(version)s."),
    fix=_("Choose another version number."),
    documented="ModelArts.3002",
    http=409,
)
register(
    "registry.version.in_use",
    title=_("The version is in use"),
    cause=_("Version %(version)s of %(name)s is used by these services: %(services)s."),
    fix=_("Delete these services or update them to another version, then delete the version."),
    documented="ModelArts.3009",
    http=409,
)
register(
    "registry.model.in_use",
    title=_("The model is in use"),
    cause=_("Versions of %(name)s are used by these services: %(services)s."),
    fix=_("Delete these services or update them to another model, then delete the model."),
    documented="ModelArts.3009",
    http=409,
)
register(
    "registry.version.cancelled",
    title=_("The import was cancelled"),
    cause=_("%(actor)s cancelled the import."),
    fix=_("Retry the import when you want the version after all."),
    http=409,
)
register(
    "registry.version.not_normal",
    title=_("The version is not Normal"),
    cause=_("Version %(version)s of %(name)s is not in the status Normal."),
    fix=_("Wait until the import has finished, or choose another version."),
    documented="ModelArts.3515",
    http=409,
)
register(
    "registry.version.busy",
    title=_("The version is being worked on"),
    cause=_("Version %(version)s of %(name)s is being imported or built."),
    fix=_("Wait until the work has finished, or cancel it."),
    documented="ModelArts.3065",
    http=409,
)
register(
    "registry.version.numbers_used_up",
    title=_("No version number is left"),
    cause=_("After %(version)s there is no higher version number of the form n.n.n with one or two digits."),
    fix=_("Type a number that is free, or import under another model name."),
    http=409,
)
register(
    "registry.runtime.not_offered",
    title=_("This runtime environment is not offered"),
    cause=_("The runtime %(runtime)s of %(engine)s is not offered by this installation."),
    fix=_("Use one of these, or leave runtime out of config.json: %(offered)s."),
    documented="ModelArts.3016",
)

# --- where the files come from -------------------------------------------------------------------------

register(
    "registry.source.unreachable",
    title=_("The object storage does not answer"),
    cause=_("The object storage cannot be reached: %(detail)s."),
    fix=_("Check the address of the connection and that the storage is running, then retry."),
    http=502,
)
register(
    "registry.source.forbidden",
    title=_("The object storage refuses access"),
    cause=_("The connection may not read %(path)s in the bucket %(bucket)s. %(detail)s"),
    fix=_("Check the access key of the connection and its right to list and read this path."),
    http=403,
)
register(
    "registry.source.no_such_path",
    title=_("The path does not exist"),
    cause=_("There is nothing at the path %(path)s in the bucket %(bucket)s."),
    fix=_CHOOSE_PARENT,
    documented="ModelArts.3017",
)
register(
    "registry.source.not_a_file",
    title=_("This is not a plain file"),
    cause=_(
        "%(path)s in the bucket %(bucket)s is a link, a device or another thing that is not a plain file."
    ),
    fix=_("Put the file itself in its place."),
    documented="ModelArts.3017",
)
register(
    "registry.source.illegal_name",
    title=_("This path cannot be used"),
    cause=_("The path %(path)s holds parts or characters that are not accepted."),
    fix=_("Use names without .., backslashes and control characters."),
    documented="ModelArts.3017",
)
register(
    "registry.source.vanished",
    title=_("A file is gone"),
    cause=_("%(path)s in the bucket %(bucket)s was deleted while it was being imported."),
    fix=_("Put the file back, then retry the import."),
)
register(
    "registry.source.changed",
    title=_("A file has changed"),
    cause=_("%(path)s in the bucket %(bucket)s changed while it was being imported."),
    fix=_("Wait until nobody writes to the folder, then retry the import."),
)
register(
    "registry.source.truncated",
    title=_("A file arrived incomplete"),
    cause=_("Of %(path)s in the bucket %(bucket)s only %(got)s of %(size)s bytes arrived."),
    fix=_("Check the storage and the network, then retry the import."),
    http=502,
)
register(
    "registry.source.too_large",
    title=_("The files are too large"),
    cause=_("%(path)s has %(size)s bytes; at most %(limit)s bytes can be imported."),
    fix=_("Make the model smaller, or let the operator raise the limit."),
    documented="ModelArts.3044",
)
register(
    "registry.source.too_many",
    title=_("There are too many files"),
    cause=_("Below %(path)s there are more than %(limit)s files."),
    fix=_("Choose the folder that holds only this model."),
    documented="ModelArts.3017",
)
register(
    "registry.source.other_region",
    title=_("The bucket is in another region"),
    cause=_("The bucket %(bucket)s is in another region than the connection."),
    fix=_(
        "The object storage and this installation must be in one region: choose another bucket or connection."
    ),
)
register(
    "registry.source.encrypted",
    title=_("The files are encrypted"),
    cause=_("%(path)s in the bucket %(bucket)s is encrypted or archived and cannot be read."),
    fix=_("Put the model in a bucket without encryption, then retry the import."),
)
register(
    "registry.source.connection_gone",
    title=_("The connection was removed"),
    cause=_("The object storage connection of this version no longer exists."),
    fix=_("Import the version again from another connection."),
)
register(
    "registry.storage.full",
    title=_("The disk is full"),
    cause=_("There is not enough free space on the disk."),
    fix=_("Delete versions that nobody needs, or let the operator give more space, then retry the import."),
    http=507,
)
register(
    "registry.storage.quota",
    title=_("The quota is used up"),
    cause=_("The version needs %(needed)s bytes; %(free)s bytes of the quota of %(quota)s bytes are left."),
    fix=_("Delete versions that nobody needs, or let the operator raise the quota, then retry the import."),
    http=507,
)
register(
    "registry.storage.unreachable",
    title=_("The artifact storage does not answer"),
    cause=_("The storage of the imported files cannot be reached: %(detail)s."),
    fix=_("Check that the storage named by ARTIFACTS_URL is running, then retry."),
    http=502,
)
register(
    "registry.storage.damaged",
    title=_("A stored file is damaged"),
    cause=_("The stored file %(path)s no longer has the content that was imported."),
    fix=_("Import the version again."),
    http=500,
)

# --- the environment -----------------------------------------------------------------------------------

register(
    "registry.environment.unresolvable",
    title=_("The runtime dependencies do not fit together"),
    cause=_("No set of packages meets the runtime dependencies of this version: %(detail)s"),
    fix=_(
        "Change the dependencies in config.json; prefer ATLEAST where EXACT clashes with a preinstalled "
        "package."
    ),
    documented="ModelArts.3301",
)
register(
    "registry.environment.build_failed",
    title=_("The environment could not be built"),
    cause=_("Installing the runtime dependencies failed: %(detail)s"),
    fix=_("Read the log of the job, change the dependencies if they are the cause, then retry."),
    documented="ModelArts.3301",
    http=500,
)
register(
    "registry.environment.index_unreachable",
    title=_("The package index does not answer"),
    cause=_("The package index cannot be reached: %(detail)s"),
    fix=_("Check the network and the setting SLIPWAY_INDEX_URL, then retry."),
    http=502,
)
register(
    "registry.environment.illegal_requirement",
    title=_("A runtime dependency cannot be used"),
    cause=_("The runtime dependency %(requirement)s is not the name of a package with an optional version."),
    fix=_("Correct the dependencies in config.json; addresses, files and options are not accepted."),
    documented="ModelArts.3015",
)
register(
    "registry.environment.timed_out",
    title=_("Building the environment took too long"),
    cause=_("The environment was not ready after %(minutes)s minutes."),
    fix=_("Retry; packages that were downloaded already are kept."),
    documented="ModelArts.3301",
    http=500,
)
register(
    "registry.environment.in_use",
    title=_("The environment is in use"),
    cause=_("The environment %(digest)s is used by %(count)s versions."),
    fix=_("Delete these versions first."),
    http=409,
)

# --- the load test -------------------------------------------------------------------------------------

register(
    "registry.trial.load_failed",
    title=_("The model does not load"),
    cause=_("The model server could not load the model: %(detail)s"),
    fix=_(
        "Check that the model file was saved with the versions of this runtime, correct it, then import "
        "again."
    ),
)
register(
    "registry.trial.hung",
    title=_("The model hangs on loading"),
    cause=_("The model was not ready after %(seconds)s seconds."),
    fix=_("Do long work in the background or after the first request, then import again."),
)
register(
    "registry.trial.crashed",
    title=_("The model server crashed"),
    cause=_("The process ended while the model was tested: %(detail)s"),
    fix=_("Read the log of the job; often memory or a native library is the cause."),
)
register(
    "registry.trial.out_of_memory",
    title=_("The model needs more memory"),
    cause=_("Loading the model needed more than %(limit)s bytes of memory."),
    fix=_("Raise the minimum inference specifications, or use a smaller model."),
)
register(
    "registry.trial.health_wrong",
    title=_("The health check fails"),
    cause=_('GET /health did not answer 200 with {"health": "true"}: %(detail)s'),
    fix=_("Correct the inference code so that the server becomes healthy, then import again."),
)
register(
    "registry.trial.sample_failed",
    title=_("The sample request fails"),
    cause=_("The sample %(path)s was not answered with a prediction: %(detail)s"),
    fix=_("Correct the sample or the model, or remove the sample from the package, then import again."),
)
register(
    "registry.trial.sandbox_unavailable",
    title=_("Models cannot run safely on this machine"),
    cause=_("The sandbox for foreign code cannot be set up: %(detail)s"),
    fix=_("Run Slipway on a Linux kernel with Landlock and seccomp."),
    http=500,
)

from registry import config_problems, field_problems, package_problems  # noqa: E402, F401  (the rest)
