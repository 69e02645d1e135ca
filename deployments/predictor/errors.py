"""What a caller can be told. Every refusal and failure is one `CallError`, answered as JSON.

Codes are the documented ones where there is one (facts §4.11): ``MR.0105`` exception in inference code,
``APIG.0101`` bad address or method, ``APIG.0201`` bad or too large request, ``ModelArts.4206`` too many
requests, ``ModelArts.4302`` not able to serve.
"""

from __future__ import annotations

MODEL_FAILED = "MR.0105"
BAD_ADDRESS = "APIG.0101"
BAD_REQUEST = "APIG.0201"
TOO_MANY = "ModelArts.4206"
UNAVAILABLE = "ModelArts.4302"

_LONGEST_MESSAGE = 2000


class CallError(Exception):
    """A call that gets an error answer: HTTP `status`, `code` and `message` (English, whole sentences)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"


class Unusable(Exception):
    """The package cannot be served; the message says what is wrong and what to change."""


def bad_request(message: str) -> CallError:
    """The request breaks the declared contract: 400."""
    return CallError(400, BAD_REQUEST, message)


def model_failed(error: BaseException) -> CallError:
    """Model code raised `error`: 500 MR.0105 with the exception's type and message (facts §2.9)."""
    name = type(error).__name__
    text = str(error)
    return CallError(500, MODEL_FAILED, f"{name}: {text}" if text else name)


def bad_answer(message: str) -> CallError:
    """The model answered something that cannot be sent: 500 MR.0105."""
    return CallError(500, MODEL_FAILED, message)
