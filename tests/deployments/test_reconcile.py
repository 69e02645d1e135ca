from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments import reconcile as r
from tests.deployments.simulation import World, deploying, revise, running, targets


def test_a_new_service_is_announced_then_started_then_opened():
    world = World(deploying(a=1))
    assert [type(action) for action in world.step()] == [r.Create, r.Publish]
    assert world.published == r.Routes(unavailable="deploying")
    assert world.step() == [r.Start("n0")]
    assert world.step() == [r.MarkReady("n0"), r.Publish(r.Routes((("a", 100, ("n0",)),)))]
    assert world.step() == [r.Conclude("ready")]
    assert world.plan() == []
    assert r.is_settled(world.desired, world.observed)


def test_calls_go_to_the_old_version_until_every_new_instance_is_ready():
    world = running(a=1)
    world.mute = frozenset({"b"})
    revise(world, b=2)
    for _ in range(5):
        world.step()
    assert world.published.shares == (("a", 100, ("n0",)),)
    world.recover("n1")
    for _ in range(5):
        world.step()
    assert world.published.shares == (("a", 100, ("n0",)),), "half of the new one is not enough"
    world.recover("n2")
    world.settle()
    assert world.published.shares == (("b", 100, ("n1", "n2")),)
    assert world.stopped == ["n0"]
    assert world.desired.status == "running"


def test_more_instances_of_the_same_version_restart_nothing():
    world = running(a=1)
    revise(world, a=3)
    world.settle()
    assert sorted(world.phases()) == ["n0", "n1", "n2"]
    assert world.stopped == []


def test_fewer_instances_leave_the_gateway_before_they_end():
    world = running(a=3)
    revise(world, a=1)
    assert r.Publish(r.Routes((("a", 100, ("n0",)),))) in world.step()
    assert world.stopped == []
    world.settle()
    assert sorted(world.stopped) == ["n1", "n2"]
    assert world.phases() == {"n0": "ready"}


def test_a_change_of_shares_moves_nothing_but_the_routes():
    world = running(a=1, b=1)
    revise(world, a=1, b=1)
    world.desired = replace(world.desired, targets=(r.Target("a", 90, 1), r.Target("b", 10, 1)))
    world.settle()
    assert world.published.shares == (("a", 90, ("n0",)), ("b", 10, ("n1",)))
    assert world.stopped == []


def test_a_version_without_a_ready_instance_gets_no_calls():
    world = running(a=1, b=1)
    world.crash_for_good("n1")
    world.broken = frozenset({"b"})
    world.step()
    assert world.published.shares == (("a", 50, ("n0",)),)


def test_a_version_with_no_share_gets_no_calls_even_when_it_is_the_only_one_ready():
    desired = replace(deploying(), targets=(r.Target("a", 100, 1), r.Target("b", 0, 1)))
    world = World(desired, mute=frozenset({"a"}))
    for _ in range(5):
        world.step()
    assert world.phases() == {"n0": "starting", "n1": "ready"}
    assert world.published.shares == ()


def test_an_instance_that_is_started_again_is_out_of_the_routes_until_it_answers():
    world = running(a=2)
    world.die("n0")
    actions = world.step()
    assert r.NoteRestart("n0", 1) in actions
    assert r.Conclude("lost") in actions
    assert world.published.shares == (("a", 100, ("n1",)),)
    assert world.desired.status == "concerning"
    world.settle()
    assert world.published.names == {"n0", "n1"}
    assert world.desired.status == "running"


def test_an_instance_that_falls_silent_is_replaced_after_the_time_that_it_may_take():
    world = running(a=1)
    world.fall_silent("n0")
    world.settle()
    assert world.desired.status == "concerning"
    assert world.published == r.Routes(unavailable="concerning")
    world.now += 1200
    world.settle()
    assert world.phases() == {"n1": "ready"}
    assert world.desired.status == "running"


def test_instances_that_the_machine_lost_are_started_again_under_their_names():
    world = running(a=2)
    world.lose("n0")
    world.lose("n1")
    actions = world.step()
    assert {type(action) for action in actions} == {r.MarkUnready, r.Start, r.Publish, r.Conclude}
    world.settle()
    assert sorted(world.phases()) == ["n0", "n1"]
    assert world.desired.status == "running"


def test_an_instance_without_a_row_is_ended():
    world = running(a=1)
    world.members["stray"] = r.Member("stray", process="up", answers=True)
    assert world.step() == [r.Stop("stray")]
    assert world.plan() == []


def test_an_instance_that_keeps_restarting_is_replaced():
    world = running(a=2)
    for number in range(r.MOST_RESTARTS):
        assert any(isinstance(action, r.Fail) for action in world.plan()) is False, number
        world.die("n0")
        world.settle()
    assert "n0" not in world.phases()
    assert len(world.phases()) == 2


def test_restarts_before_a_long_good_time_are_forgiven():
    world = running(a=1)
    world.members["n0"] = replace(world.members["n0"], restarts=4, known_restarts=4)
    world.now += r.SETTLED_SECONDS
    world.die("n0")
    actions = world.plan()
    assert r.NoteRestart("n0", 5, ran_well=True) in actions


@pytest.mark.parametrize("status", ["deploying", "concerning"])
def test_a_model_that_keeps_crashing_is_given_up_after_a_few_instances(status):
    world = World(replace(deploying(a=1), status=status), broken=frozenset({"a"}))
    world.settle()
    assert world.conclusions == [("gave_up", "crashes")]
    assert len(world.stopped) >= r.MOST_FAILURES
    assert world.phases() == {}
    assert world.published == r.Routes(unavailable="failed")


def test_with_somebody_ready_replacing_pauses_instead_of_giving_up():
    world = running(a=2)
    world.broken = frozenset({"a"})
    world.crash_for_good("n0")
    world.settle()
    assert world.desired.status == "concerning"
    assert len(world.failures) == r.MOST_FAILURES
    assert world.published.names == {"n1"}
    world.broken = frozenset()
    world.now += r.FAILURE_WINDOW
    world.settle()
    assert world.desired.status == "running"


def test_an_update_that_crashes_returns_to_the_last_good_revision():
    world = running(a=1)
    world.broken = frozenset({"b"})
    revise(world, b=1)
    world.settle()
    assert world.conclusions[-2:] == [("roll_back", "crashes"), ("ready", "")]
    assert world.phases() == {"n0": "ready"}
    assert world.published.names == {"n0"}
    assert "n0" not in world.stopped


def test_a_start_that_hangs_ends_with_the_timeout():
    world = World(deploying(a=1), mute=frozenset({"a"}))
    world.settle()
    assert world.desired.status == "deploying"
    world.now += 1200
    world.settle()
    assert world.conclusions == [("gave_up", "timeout")]
    assert world.phases() == {}


def test_a_deployment_that_is_ready_at_the_last_moment_is_not_given_up():
    world = World(deploying(a=1), mute=frozenset({"a"}))
    world.settle()
    world.now += 1200
    world.recover("n0")
    world.settle()
    assert world.desired.status == "running"


def test_stopping_takes_the_calls_away_first():
    world = running(a=2)
    world.desired = replace(world.desired, goal="stopped", status="stopping")
    assert world.step() == [r.Publish(r.Routes(unavailable="stopping"))]
    world.settle()
    assert world.phases() == {}
    assert world.desired.status == "stopped"
    assert world.published == r.Routes(unavailable="stopped")


def test_deleting_takes_the_address_away_and_ends_with_the_row():
    world = running(a=1)
    world.desired = replace(world.desired, goal="deleted", status="deleting")
    world.settle()
    assert world.published == r.Routes(absent=True)
    assert world.conclusions[-1] == ("purge", "")


def test_nothing_is_ended_while_it_is_unknown_whether_the_gateway_was_told():
    world = running(a=2)
    revise(world, a=1)
    world.published, world.named = None, frozenset({"n0", "n1"})
    actions = world.plan()
    assert not any(isinstance(action, r.Stop | r.Retire) for action in actions)
    assert any(isinstance(action, r.Publish) for action in actions)


def test_a_crashed_instance_that_the_gateway_names_stays_until_it_does_not():
    world = running(a=1)
    world.crash_for_good("n0")
    actions = world.step()
    assert not any(isinstance(action, r.Retire | r.Stop) for action in actions)
    assert r.Retire("n0") in world.step()


KEYS = st.sampled_from(["a", "b", "c"])
COUNTS = st.dictionaries(KEYS, st.integers(1, 3), min_size=1, max_size=2)
PHASES = [r.STARTING, r.READY, r.UNREADY, r.CRASHED, r.STOPPING, None]
PROCESSES = ["starting", "up", "crashed", "gone", None]


@st.composite
def members(draw: st.DrawFn) -> dict[str, r.Member]:
    made = {}
    for number in range(draw(st.integers(0, 5))):
        name = f"m{number}"
        phase = draw(st.sampled_from(PHASES))
        process = draw(st.sampled_from(PROCESSES)) if phase is not None else "up"
        made[name] = r.Member(
            name,
            key=draw(KEYS),
            phase=phase,
            since=draw(st.floats(0, 1000)),
            created=draw(st.floats(0, 1000)),
            process=process,
            answers=process == "up" and draw(st.booleans()),
            gave_up=process == "crashed",
            restarts=draw(st.integers(0, 6)) if process else 0,
            known_restarts=draw(st.integers(0, 6)),
            settled_restarts=draw(st.integers(0, 6)),
        )
    return made


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any state at all, also such as no history leads to."""
    goal, status = draw(
        st.sampled_from(
            [
                ("running", "deploying"),
                ("running", "running"),
                ("running", "concerning"),
                ("stopped", "stopping"),
                ("stopped", "stopped"),
                ("stopped", "failed"),
                ("deleted", "deleting"),
            ]
        )
    )
    fallback = targets(**draw(COUNTS)) if status == "deploying" and draw(st.booleans()) else ()
    here = draw(members())
    known = [name for name, member in here.items() if member.phase is not None]
    named = frozenset(draw(st.lists(st.sampled_from(known), unique=True)) if known else [])
    return World(
        r.Desired(goal, status, targets(**draw(COUNTS)), fallback, bool(fallback), started=900.0),
        members=here,
        named=named,
        failures=draw(st.lists(st.floats(0, 1000), max_size=4)),
        broken=draw(st.frozensets(KEYS, max_size=1)),
    )


def _heal(world: World) -> None:
    """From now on whatever has a process answers, unless its model is broken."""
    for name, member in world.members.items():
        if member.process == "up":
            world.recover(name)
        if member.process == "starting":
            world.members[name] = replace(member, process="up", answers=True)


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_from_any_state_it_converges_and_then_rests(world: World):
    for _ in range(80):
        _heal(world)
        if not world.step():
            break
    assert world.plan() == [], "an action after convergence"
    status = world.desired.status
    assert status in ("running", "concerning", "stopped", "failed", "purged")
    if status in ("stopped", "failed", "purged"):
        assert world.phases() == {}
        assert world.published.names == frozenset()
    else:
        wanted = {target.key: target.count for target in world.desired.targets}
        have = [member.key for member in world.members.values() if member.phase == r.READY]
        if status == "running":
            assert {key: have.count(key) for key in wanted} == wanted
            assert len(have) == sum(wanted.values())
            assert world.published.names == {m.name for m in world.members.values() if m.phase == r.READY}


@settings(max_examples=120, deadline=None)
@given(worlds(), st.integers(0, 2**32))
def test_whatever_happens_calls_never_go_to_an_instance_that_is_not_ready(world: World, seed: int):
    dice = random.Random(seed)
    for _ in range(20):
        event = dice.choice(["", "", "die", "lose", "fall_silent", "crash_for_good", "recover"])
        alive = sorted(name for name, m in world.members.items() if m.process == "up" and m.phase is not None)
        if event and alive:
            getattr(world, event)(dice.choice(alive))
        actions = world.step(stop_after=dice.choice([None, 0, 1, 2, 3]))
        if not actions and world.published is not None:
            for name in world.published.names:
                assert world.members[name].phase == r.READY


@settings(max_examples=120, deadline=None)
@given(COUNTS, COUNTS, st.booleans(), st.integers(0, 2**32))
def test_an_update_never_leaves_the_callers_without_a_ready_instance(before, after, may_break, seed: int):
    dice = random.Random(seed)
    world = running(**before)
    broken = frozenset(after.keys() - before.keys()) if may_break else frozenset()
    world.broken = broken
    revise(world, **after)
    for _ in range(120):
        done = not world.step(stop_after=dice.choice([None, 1, 2, 3]))
        assert world.published.shares, "an outage"
        if done:
            break
    assert world.desired.status == "running"
    wanted = before if broken else after
    assert {m.key for m in world.members.values() if m.phase == r.READY} == wanted.keys()
