"""Request stops, follow them, and say how they ended; the command around it is in `stop.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import redis

from cli.asking import ask_each
from cli.direct_cleanup import DirectCleanups
from cli.errors import explain
from cli.exit_codes import ExitCode
from cli.follow import DIRECT_AFTER_S, Follower
from cli.language import tr
from cli.output import Output
from cli.progress_display import Display, open_display
from cli.session import Session, open_full_context, who
from runner.own_policy import own_policy
from runner.stop_progress import Ending, StopProgress
from state.record import Phase
from state.stop_policy import StopPolicy

#: How a stop ended that did not end well.
_EXIT_CODES: Mapping[Ending | None, ExitCode] = {
    **dict.fromkeys((Ending.NOT_CLEAN, Ending.SUPERSEDED, Ending.LOST, Ending.UNKNOWN), ExitCode.NOT_CLEAN),
    Ending.REFUSED: ExitCode.FAILED,
}


@dataclass(frozen=True, kw_only=True)
class StopOptions:
    """What the user asked for."""

    timeout_s: float = 60.0
    wait: bool = True
    close_position: bool = False
    keep_orders: bool = False
    reason: str = ""
    #: Run cleanups in this process when nobody else does.
    direct: bool = True
    #: How long nobody may have taken a cleanup before that.
    direct_after_s: float = DIRECT_AFTER_S
    debug: bool = False
    #: Mark of the restart that follows, by instance. A stop of anybody, asked for meanwhile, calls it off.
    restarts: Mapping[str, str] = field(default_factory=dict)


def stop_instances(
    session: Session, names: Sequence[str], options: StopOptions, output: Output
) -> tuple[StopProgress, ...]:
    """Close every gate first, then follow all cleanups together; `ending` of each result is set.

    Raises `StartRefused` when a position may not be closed; then nothing has changed.
    """
    # Before the requests: every event that they cause comes behind it. Before all that is tried again, too: a
    # server that is not there at all is told of at once.
    position = session.events.last_id()
    policies, refused = _policies(session, names, options, output)
    by = who()

    def request(name: str) -> StopProgress:
        return refused.get(name) or _request(session, name, policies[name], by, options)

    stops = tuple(ask_each(output, names, request).values())
    if not options.wait:
        _save_last_words(session, stops, options, output)
        for stop in stops:
            stop.ending = stop.ending or Ending.REQUESTED
        return stops

    def request_again(stop: StopProgress) -> None:
        name = stop.instance_id
        try:
            session.instances.request_stop(
                name,
                by=by,
                reason=options.reason,
                policy=policies[name],
                epoch=stop.epoch,
                restart=options.restarts.get(name, ""),
            )
        except redis.ResponseError as error:
            stop.refused(explain(error).message)

    with open_display(output, [stop for stop in stops if not stop.is_over]) as display:
        for stop in stops:
            if not stop.is_over:
                _catch_up(session, stop, position, display)
        direct = DirectCleanups(session.settings, by=by, debug=options.debug) if options.direct else None
        follower = Follower(
            session,
            stops,
            position=position,
            display=display,
            direct=direct,
            request_again=request_again,
            direct_after_s=options.direct_after_s,
        )
        follower.run(options.timeout_s)
        if direct is not None:
            direct.count_last_fills(stop.instance_id for stop in stops if stop.is_over)
    # Behind the others' stops: a state server that goes away meanwhile must not end the view of them.
    _save_last_words(session, stops, options, output)
    return stops


def exit_code(stops: Sequence[StopProgress]) -> ExitCode:
    """Return the exit code of a stop of several instances."""
    return max((_EXIT_CODES.get(stop.ending, ExitCode.DONE) for stop in stops), default=ExitCode.DONE)


def _save_last_words(
    session: Session, stops: Sequence[StopProgress], options: StopOptions, output: Output
) -> None:
    """Wait for the disk where no cleanup does it, which would: a crash could take the request back."""
    # Who does not follow it will not ask again. What had stopped already may have had a restart called off.
    names = [
        stop.instance_id
        for stop in stops
        if stop.ending is Ending.ALREADY_STOPPED or (not options.wait and stop.ending is not Ending.REFUSED)
    ]
    if not session.instances.save_stops(names):
        output.warn(
            tr(
                "the state server has not written this to its disk yet, and a crash of it could take it "
                "back; the same command again makes sure"
            )
        )


def _policies(
    session: Session, names: Sequence[str], options: StopOptions, output: Output
) -> tuple[dict[str, StopPolicy], dict[str, StopProgress]]:
    """Return the policies, and the ends of those whose configuration the state server does not give."""

    def policy(name: str) -> StopPolicy | StopProgress:
        try:
            return _policy(session, name, options)
        except redis.ResponseError as error:
            return _refused(name, error)

    found = ask_each(output, names, policy, changes=False)
    return (
        {name: one for name, one in found.items() if isinstance(one, StopPolicy)},
        {name: one for name, one in found.items() if isinstance(one, StopProgress)},
    )


def _policy(session: Session, name: str, options: StopOptions) -> StopPolicy:
    """Return the run's own policy, overridden by the flags."""
    own = own_policy(session.instances.config_json(name))
    if options.close_position or (options.keep_orders and own.close_position):
        # Whether that is allowed depends on the whole configuration.
        context = open_full_context(session.settings, debug=options.debug)
        from runner.lifecycle import stop_policy

        return stop_policy(
            context, name, close_position=options.close_position, keep_orders=options.keep_orders
        )
    return StopPolicy(
        cancel_orders=own.cancel_orders and not options.keep_orders, close_position=own.close_position
    )


def _refused(name: str, error: redis.ResponseError) -> StopProgress:
    stop = StopProgress(instance_id=name, epoch=0, requested_at_ms=0)
    stop.refused(explain(error).message)
    return stop


def _request(session: Session, name: str, policy: StopPolicy, by: str, options: StopOptions) -> StopProgress:
    """Close the gate of one instance. What the server refuses for it keeps no other from being stopped."""
    try:
        return _requested(session, name, policy, by, options)
    except redis.ResponseError as error:
        return _refused(name, error)


def _requested(
    session: Session, name: str, policy: StopPolicy, by: str, options: StopOptions
) -> StopProgress:
    result = session.instances.request_stop(
        name, by=by, reason=options.reason, policy=policy, restart=options.restarts.get(name, "")
    )
    stop = StopProgress(instance_id=name, epoch=result.epoch, requested_at_ms=result.at_ms)
    if result.result == "stopping":
        return stop
    record = session.instances.read(name)
    if record is None or record.epoch == 0:
        # Only here: it is slow to import, and a stop closes the gate first.
        from runner.lost_runs import lost_runs

        lost = lost_runs(session.settings, [name])
        stop.epoch = lost.get(name) or 0
        if name not in lost:
            stop.ending = Ending.NEVER_STARTED
        else:
            stop.ending = Ending.LOST if stop.epoch else Ending.UNKNOWN
        return stop
    stop.requested_at_ms = record.stop_requested_at_ms or result.at_ms
    if record.phase is Phase.STOPPED:
        stop.stopped(outcome_json=record.outcome, at_ms=record.stopped_at_ms)
        # A stop that was under way may have ended between the request and this read.
        stop.ending = Ending.ALREADY_STOPPED if result.result == "stopped" else Ending.CLEAN
        return stop
    stop.outcome_json = record.outcome
    stop.joined = result.result == "joined"
    stop.was_failed = record.phase is Phase.FAILED
    return stop


def _catch_up(session: Session, stop: StopProgress, position: str, display: Display) -> None:
    """Take in what had happened before this command joined."""
    if stop.was_failed:
        display.say(f"{stop.instance_id}: {tr('its cleanups failed before; following the next ones')}")
    elif stop.joined:
        display.say(f"{stop.instance_id}: {tr('a stop is under way already; following it')}")
    else:
        return
    for event in session.events.of_instance(stop.instance_id, limit=100):
        if _place(event.stream_id) > _place(position):
            break
        phase = stop.take(event)
        if phase and stop.joined:
            display.seen(stop, phase)
    if stop.was_failed:
        stop.phases.clear()


def _place(stream_id: str) -> tuple[int, int]:
    at_ms, _, number = stream_id.partition("-")
    return int(at_ms), int(number or 0)
