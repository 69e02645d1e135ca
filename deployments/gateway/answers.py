"""The JSON answers that the gateway itself gives: documented codes (facts §4.11) and their sentences.

These are answers of an API, read by programs and by their authors' logs; they are English in every language.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One error answer: HTTP status, documented code, sentence."""

    status: int
    code: str
    message: str

    def body(self, **extra: str) -> str:
        """The JSON body, `extra` fields after the two documented ones."""
        return json.dumps({"error_code": self.code, "error_msg": self.message, **extra})


KEY_HEADERS = ("X-Apig-AppCode", "X-Auth-Token", "Authorization")  # in the order in which they are looked at

NO_KEY = Answer(
    401,
    "APIG.0301",
    "The request carries no key. Send it in X-Apig-AppCode, X-Auth-Token or as Authorization: Bearer.",
)
BAD_KEY = Answer(401, "APIG.0301", "The key is not valid for this service.")
NO_SERVICE_ID = Answer(404, "ModelArts.4201", "The address lacks the service id: /v1/infers/<service id>.")
BAD_ADDRESS = Answer(404, "ModelArts.4202", "Services are called at /v1/infers/<service id>.")
NO_SERVICE = Answer(404, "ModelArts.4204", "There is no service with this id.")
BAD_PATH = Answer(400, "APIG.0101", "The path of the request is not valid.")
BAD_REQUEST = Answer(400, "APIG.0201", "The request is not valid HTTP as this gateway accepts it.")
TOO_LARGE = Answer(413, "APIG.0201", "The request body is larger than this service accepts.")
TOO_MANY = Answer(429, "ModelArts.4206", "There are too many requests.")
SLOW_CALLER = Answer(408, "ModelArts.4205", "The request did not arrive completely in time.")
NO_INSTANCE = Answer(503, "ModelArts.4302", "No instance of the service could take or finish the request.")
NO_BACKEND = Answer(503, "ModelArts.4503", "The backend of the service is absent.")
TIMED_OUT = Answer(504, "ModelArts.4503", "The model did not answer within the time limit of the service.")
STALLED = Answer(504, "ModelArts.4505", "The model stopped sending its answer.")

UNAVAILABLE = {
    "deploying": "The service is being deployed. Try again when it is running.",
    "starting": "The service is starting. Try again when it is running.",
    "stopped": "The service is stopped. Start it to call it.",
    "stopping": "The service is being stopped.",
    "failed": "The service could not be deployed. Its events tell why.",
    "concerning": "No instance of the service is ready. Its events tell why.",
    "finished": "The service has finished.",
    "deleting": "The service is being deleted.",
}


def unavailable(reason: str | None) -> str:
    """The body of the 503 of a service without a ready instance: {"error_code", "error_msg", "reason"}."""
    message = UNAVAILABLE.get(reason or "", "The service is not running.")
    return Answer(503, "ModelArts.4203", message).body(reason=reason or "not_running")
