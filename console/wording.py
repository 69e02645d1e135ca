"""Amounts and moments in the reader's language: sizes, rates, durations, relative times.

Pure wording over Django's translations; knows no model and no request. `static/console/console.js`
keeps relative times fresh with the browser's own wording, which reads the same.
"""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext, ngettext

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float | None) -> str:
    """`count` bytes in binary units with three significant digits: `602 KiB`, `1.25 GiB`; a dash for None."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    decimals = 0 if unit == 0 or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{_rounded(value, decimals)} {_UNITS[unit]}"


def _rounded(value: float, decimals: int) -> str:
    """`number_format` alone would cut the decimals off."""
    return number_format(round(value, decimals), decimal_pos=decimals)


def rate(count: float) -> str:
    """`count` bytes per second: `85.2 MiB/s`."""
    return gettext("%(size)s/s") % {"size": size(count)}


def duration(seconds: float | None) -> str:
    """How long, in at most two units: `0.8 s`, `42 s`, `3 min 5 s`, `4 d 3 h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return gettext("%(seconds)s s") % {"seconds": _rounded(max(seconds, 0), 1)}
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return gettext("%(days)s d %(hours)s h") % {"days": days, "hours": hours}
    if hours:
        return gettext("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
    if minutes:
        return gettext("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": rest}
    return gettext("%(seconds)s s") % {"seconds": whole}


def exact(moment: datetime) -> str:
    """The moment to the second, in the site's time zone, the way the language writes it."""
    return date_format(timezone.localtime(moment), "Y-m-d H:i:s T")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago `moment` was, or how soon it comes: `just now`, `3 minutes ago`, `in 2 hours`."""
    seconds = ((now or timezone.now()) - moment).total_seconds()
    past, distance = seconds >= 0, abs(seconds)
    if distance < 45:
        return gettext("just now") if past else gettext("in a moment")
    count, phrase = _distance(distance, past)
    return phrase % {"count": number_format(count)}


def _distance(distance: float, past: bool) -> tuple[int, str]:
    if distance < 45 * 60:
        count = max(1, round(distance / 60))
        if past:
            return count, ngettext("%(count)s minute ago", "%(count)s minutes ago", count)
        return count, ngettext("in %(count)s minute", "in %(count)s minutes", count)
    if distance < 22 * 3600:
        count = max(1, round(distance / 3600))
        if past:
            return count, ngettext("%(count)s hour ago", "%(count)s hours ago", count)
        return count, ngettext("in %(count)s hour", "in %(count)s hours", count)
    count = max(1, round(distance / 86400))
    if past:
        return count, ngettext("%(count)s day ago", "%(count)s days ago", count)
    return count, ngettext("in %(count)s day", "in %(count)s days", count)
