"""Whether a call is over sooner than a worker thread is woken for it.

Handing a call to a thread and back costs two switches, more than a tiny model computes; leaving every model
on the event loop would let a slow one hold up the health checks and everybody else. So it is measured: a
model whose calls of a size are brief again and again computes such calls right on the event loop, until they
take longer. Sizes are judged apart, by powers of two. Own code never does it, because nothing bounds
what it may do next time.
"""

from __future__ import annotations

_BRIEF_SECONDS, _LONG_SECONDS = 0.002, 0.02
_ENOUGH, _MOST = 64, 128
# A neighbour that takes the processor for a moment looks like a slow call, so one such call decides nothing.
_PENALTY, _LONG_PENALTY = 4, 64
_SIZES = 64


class Pace:
    """Scores of how reliably brief the calls are: one up for each brief call, down by more
    for each that is not.
    """

    def __init__(self, possible: bool) -> None:
        self._possible = possible
        self._scores = [0] * _SIZES

    def brief(self, body_bytes: int) -> bool:
        """Whether a call with a body of this size may be computed on the event loop."""
        return self._scores[body_bytes.bit_length()] >= _ENOUGH

    def took(self, seconds: float, body_bytes: int) -> None:
        """Learn from a finished call. From any thread: an update lost among threads only delays the
        verdict.
        """
        at = body_bytes.bit_length()
        score = self._scores[at]
        if seconds > _BRIEF_SECONDS:
            self._scores[at] = max(0, score - (_PENALTY if seconds < _LONG_SECONDS else _LONG_PENALTY))
        elif self._possible and score < _MOST:
            self._scores[at] = score + 1
