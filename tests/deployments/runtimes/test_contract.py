"""What every runtime promises, proved on the fake and on supervisord alike."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from tests.deployments.runtimes.conftest import Bench
from tests.waiting import until


def test_nothing_is_listed_before_anything_is_started(bench: Bench) -> None:
    assert bench.runtime.list() == []
    assert bench.runtime.list("no-such-service") == []


def test_a_started_instance_is_listed_with_what_it_belongs_to(bench: Bench) -> None:
    id = bench.started()
    seen = until(lambda: (one := bench.seen(id)) and one.state == "up" and one)
    assert (seen.service_id, seen.revision, seen.target) == (bench.spec().service_id, 3, "target-1")
    assert (seen.restarts, seen.detail, seen.gave_up) == (0, "", False)
    assert seen.since is not None
    assert len(os.fsencode(seen.address)) <= 107


def test_starting_an_id_again_changes_nothing(bench: Bench) -> None:
    spec = bench.spec()
    bench.runtime.start(spec)
    first = until(lambda: bench.seen(spec.id))
    bench.runtime.start(spec)
    assert bench.runtime.list() == [first]


def test_the_list_can_be_of_one_service(bench: Bench) -> None:
    mine = bench.started()
    other = bench.started(service_id="another-service")
    assert [one.id for one in bench.runtime.list("another-service")] == [other]
    assert [one.id for one in bench.runtime.list()] == sorted([mine, other])


def test_a_ready_instance_says_so(bench: Bench) -> None:
    id = bench.started()
    assert until(lambda: bench.runtime.probe(id).ready)


def test_an_instance_that_is_not_healthy_says_why(bench: Bench) -> None:
    id = bench.started("unready")
    answer = until(lambda: (result := bench.runtime.probe(id)).detail.startswith("503") and result)
    assert not answer.ready
    assert "loading" in answer.detail


def test_probing_what_does_not_exist_is_only_not_ready(bench: Bench) -> None:
    answer = bench.runtime.probe("i-0123456789ab")
    assert not answer.ready
    assert answer.detail


def test_an_instance_that_dies_is_started_again_and_counted(bench: Bench) -> None:
    id = bench.ready()
    bench.kill(id)
    until(lambda: (one := bench.seen(id)) and one.restarts == 1 and one.state == "up")
    until(lambda: bench.runtime.probe(id).ready)


def test_an_instance_that_cannot_load_is_given_up_with_a_reason(bench: Bench) -> None:
    id = bench.started("crash")
    seen = until(lambda: (one := bench.seen(id)) and one.gave_up and one)
    assert seen.state == "crashed"
    assert seen.restarts == 1
    assert seen.detail
    until(lambda: "cannot load" in [line.text for line in bench.runtime.logs(id)])
    bench.gone(id)


def test_an_idle_instance_is_gone_after_one_stop(bench: Bench) -> None:
    id = bench.ready()
    bench.runtime.stop(id, 30)
    assert bench.seen(id) is None
    assert not bench.runtime.probe(id).ready


def test_stopping_what_is_gone_or_never_was_is_fine(bench: Bench) -> None:
    id = bench.ready()
    bench.gone(id)
    bench.runtime.stop(id, 30)
    bench.runtime.stop("i-0123456789ab", 0)
    bench.runtime.stop("../../etc", 0)


def test_a_busy_instance_finishes_its_requests_before_it_goes(bench: Bench) -> None:
    id = bench.ready("slow")
    bench.runtime.stop(id, 30)
    assert bench.seen(id).state == "stopping"
    bench.runtime.stop(id, 30)
    assert bench.seen(id).state == "stopping"
    bench.release(id)
    bench.gone(id)


def test_an_instance_that_does_not_end_is_killed_when_its_grace_is_over(bench: Bench) -> None:
    id = bench.ready("deaf")
    bench.runtime.stop(id, 0.3)
    bench.gone(id, 0.3)


def test_without_grace_an_instance_is_killed_at_once(bench: Bench) -> None:
    id = bench.ready("deaf")
    bench.runtime.stop(id, 0)
    assert bench.seen(id) is None


def test_later_calls_cannot_extend_the_grace(bench: Bench) -> None:
    id = bench.ready("deaf")
    bench.runtime.stop(id, 0.2)
    bench.gone(id, 600)


def test_an_id_can_be_started_again_after_it_is_gone(bench: Bench) -> None:
    spec = bench.spec()
    bench.runtime.start(spec)
    bench.gone(spec.id)
    bench.runtime.start(spec)
    until(lambda: bench.runtime.probe(spec.id).ready)
    assert bench.seen(spec.id).restarts == 0


def test_an_id_can_be_started_again_before_what_is_left_of_it_was_removed(bench: Bench) -> None:
    spec = bench.spec("slow")
    bench.runtime.start(spec)
    until(lambda: bench.runtime.probe(spec.id).ready)
    bench.runtime.stop(spec.id, 30)
    assert bench.seen(spec.id).state == "stopping"
    bench.release(spec.id)
    until(lambda: bench.seen(spec.id).state == "gone")
    bench.runtime.start(spec)
    until(lambda: bench.runtime.probe(spec.id).ready)
    seen = bench.seen(spec.id)
    assert (seen.state, seen.restarts) == ("up", 1)


def test_logs_are_in_order_and_can_be_cut(bench: Bench) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    id = bench.ready()
    lines = until(lambda: len(bench.runtime.logs(id)) >= bench.lines and bench.runtime.logs(id))
    assert "starting" in lines[0].text
    assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert bench.runtime.logs(id, tail=1) == lines[-1:]
    assert bench.runtime.logs(id, tail=0) == []
    assert bench.runtime.logs(id, since=before) == lines
    assert bench.runtime.logs(id, until=before) == []
    assert bench.runtime.logs(id, since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert bench.runtime.logs("i-0123456789ab") == []


def test_logs_stay_when_the_instance_is_gone_until_the_service_is_forgotten(bench: Bench) -> None:
    id = bench.ready()
    other = bench.ready(service_id="another-service")
    bench.gone(id)
    assert bench.runtime.logs(id)
    until(lambda: bench.runtime.logs(other))
    bench.runtime.forget(bench.spec().service_id)
    assert bench.runtime.logs(id) == []
    assert bench.runtime.logs(other)
