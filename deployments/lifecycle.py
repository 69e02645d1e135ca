"""The lives of a service and of an instance (design §3; facts §4.6)."""

from __future__ import annotations

from django.utils.translation import pgettext_lazy

from console.lifecycle import Lifecycle, Status

DEPLOYING, RUNNING, CONCERNING, FAILED = "deploying", "running", "concerning", "failed"
STOPPING, STOPPED, FINISHED, DELETING = "stopping", "stopped", "finished", "deleting"

SERVICE = Lifecycle(
    statuses=[
        Status(DEPLOYING, pgettext_lazy("service status", "Deploying"), "busy", is_busy=True),
        Status(RUNNING, pgettext_lazy("service status", "Running"), "ok"),
        Status(CONCERNING, pgettext_lazy("service status", "Alarm"), "warn"),
        Status(FAILED, pgettext_lazy("service status", "Abnormal"), "bad"),
        Status(STOPPING, pgettext_lazy("service status", "Stopping"), "busy", is_busy=True),
        Status(STOPPED, pgettext_lazy("service status", "Stopped"), "idle"),
        Status(FINISHED, pgettext_lazy("service status", "Finished"), "idle"),
        Status(DELETING, pgettext_lazy("service status", "Deleting"), "busy", is_busy=True),
    ],
    table={
        "instances_ready": {DEPLOYING: RUNNING, CONCERNING: RUNNING},
        "instances_lost": {RUNNING: CONCERNING},
        "gave_up": {DEPLOYING: FAILED, CONCERNING: FAILED},
        "revise": {RUNNING: DEPLOYING, CONCERNING: DEPLOYING},
        "roll_back": {DEPLOYING: DEPLOYING},
        "stop": {DEPLOYING: STOPPING, RUNNING: STOPPING, CONCERNING: STOPPING},
        "instances_gone": {STOPPING: STOPPED},
        "start": {FAILED: DEPLOYING, STOPPED: DEPLOYING, FINISHED: DEPLOYING},
        "delete": {
            RUNNING: DELETING,
            CONCERNING: DELETING,
            FAILED: DELETING,
            STOPPED: DELETING,
            FINISHED: DELETING,
        },
    },
)

# Modifying one of these leaves it where it is: the new configuration takes effect at its next start.
RESTING = (FAILED, STOPPED, FINISHED)

STARTING, READY, UNREADY, CRASHED, GONE = "starting", "ready", "unready", "crashed", "gone"

LIVE = (STARTING, READY, UNREADY)

# unready: it was ready and does not answer now, or its process is being started again.
# crashed: it was given up on; it is taken away and, where the rules allow, replaced by another.
INSTANCE = Lifecycle(
    statuses=[
        Status(STARTING, pgettext_lazy("instance status", "Starting"), "busy", is_busy=True),
        Status(READY, pgettext_lazy("instance status", "Ready"), "ok"),
        Status(UNREADY, pgettext_lazy("instance status", "Not ready"), "warn"),
        Status(CRASHED, pgettext_lazy("instance status", "Crashed"), "bad"),
        Status(STOPPING, pgettext_lazy("instance status", "Stopping"), "busy", is_busy=True),
        Status(GONE, pgettext_lazy("instance status", "Gone"), "idle", is_final=True),
    ],
    table={
        "became_ready": {STARTING: READY, UNREADY: READY},
        "became_unready": {READY: UNREADY},
        "crash": {STARTING: CRASHED, READY: CRASHED, UNREADY: CRASHED},
        "stop": {STARTING: STOPPING, READY: STOPPING, UNREADY: STOPPING, CRASHED: STOPPING},
        "vanish": {STOPPING: GONE},
    },
)
