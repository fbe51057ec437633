"""Celery swallows what it does not know: so look at what really arrives at its objects."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from celery.app.defaults import NAMESPACES, flatten
from celery.utils.imports import symbol_by_name
from celery.worker.consumer import Consumer
from kombu.connection import Connection
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads
from kombu.transport.redis import Channel

import celeryconfig
from runner.publisher import Iteration
from settings import Settings
from state.queues import all_queues, iterate_queue
from tasks import app
from tasks.publishing import CeleryPublisher

#: Names in the settings' file that are no settings.
HELPERS = {
    "annotations",
    "Queue",
    "load",
    "MESSAGE_CERTIFICATE_FILE",
    "MESSAGE_KEY_FILE",
    "TRUSTED_DIR",
    "ssl",
    "tls_options",
    "NoBackoff",
    "Retry",
    "SENTINEL_TIMEOUT_S",
    "is_sentinel",
    "parse",
    "CLEANUP",
    "ITERATE",
    "all_queues",
}
QUEUE_OF = {"tasks.iterate": "iterate", "tasks.cleanup": "cleanup"}


@pytest.fixture(scope="module", autouse=True)
def _as_a_worker_does() -> None:
    app.loader.import_default_modules()


@pytest.fixture(params=sorted(QUEUE_OF))
def task(request: pytest.FixtureRequest) -> Task:
    """Each task in turn."""
    return app.tasks[request.param]


def settings_given() -> dict[str, Any]:
    """Return every setting that our file makes."""
    names = {name for name in vars(celeryconfig) if not name.startswith("_")} - HELPERS
    return {name: getattr(celeryconfig, name) for name in names}


def test_a_worker_knows_our_two_tasks_and_no_other() -> None:
    assert {name for name in app.tasks if not name.startswith("celery.")} == set(QUEUE_OF)


@pytest.mark.parametrize("name", sorted(settings_given()))
def test_every_setting_is_one_that_celery_knows_and_has_taken(name: str) -> None:
    assert name in dict(flatten(NAMESPACES))
    assert app.conf[name] == getattr(celeryconfig, name)


def test_every_annotation_is_for_a_task_and_an_option_that_exist() -> None:
    assert set(celeryconfig.task_annotations) == set(QUEUE_OF)
    for name, options in celeryconfig.task_annotations.items():
        for option, value in options.items():
            assert option in vars(Task), f"{option} is no option of a task"
            assert getattr(app.tasks[name], option) == value


def test_every_transport_option_is_one_that_the_transport_reads() -> None:
    options = celeryconfig.broker_transport_options
    failover = {
        name: options[name] for name in ("max_retries", "interval_start", "interval_step", "interval_max")
    }
    known = {*Channel.from_transport_options, "visibility_timeout", *failover}
    assert set(options) <= known
    # kombu reads these by itself, in no list that could be looked at.
    read = Connection(transport_options=options)._extract_failover_opts()  # type: ignore[no-untyped-call]
    assert failover.items() <= read.items()


def test_every_module_and_class_named_in_text_can_be_imported() -> None:
    assert issubclass(symbol_by_name(app.conf.worker_consumer), Consumer)
    for name in celeryconfig.imports:
        symbol_by_name(name)


def test_limits_arrive_at_the_tasks() -> None:
    defaults = Settings()
    iterate, cleanup = app.tasks["tasks.iterate"], app.tasks["tasks.cleanup"]
    assert (iterate.soft_time_limit, iterate.time_limit) == (
        defaults.iterate_soft_limit_s,
        defaults.iterate_hard_limit_s,
    )
    assert (cleanup.soft_time_limit, cleanup.time_limit) == (
        defaults.cleanup_soft_limit_s,
        defaults.cleanup_hard_limit_s,
    )


def test_an_iteration_ends_softly_within_its_lease_and_hard_after_it() -> None:
    iterate = app.tasks["tasks.iterate"]
    limits = [iterate.soft_time_limit, Settings().lease_ms / 1000, iterate.time_limit]
    assert all(shorter < longer for shorter, longer in pairwise(limits))


def test_a_cleanup_ends_softly_before_hard(task: Task) -> None:
    assert 0 < task.soft_time_limit < task.time_limit


def test_no_task_runs_longer_than_the_broker_holds_its_message() -> None:
    longest = max(task.time_limit for name, task in app.tasks.items() if name in QUEUE_OF)
    held = celeryconfig.broker_transport_options["visibility_timeout"]
    assert isinstance(held, int)
    assert longest < held / 3 * 2


def test_messages_are_acknowledged_before_they_run_and_leave_no_result(task: Task) -> None:
    assert task.acks_late is False
    assert task.reject_on_worker_lost in (None, False)
    assert task.ignore_result is True
    assert task.max_retries is not None


def test_only_json_is_written_and_read(task: Task) -> None:
    assert task.serializer == "json"
    assert app.conf.accept_content == ["json"]
    with pytest.raises(ContentDisallowed):
        loads(b"", "application/x-python-serialize", "binary", accept=app.conf.accept_content)  # type: ignore[no-untyped-call]


def test_each_task_has_a_queue_of_its_own_and_each_queue_a_routing_key_of_its_own() -> None:
    queues = app.amqp.queues
    assert set(queues) == set(QUEUE_OF.values())
    assert {name: queue.routing_key for name, queue in queues.items()} == {name: name for name in queues}
    for name, queue in QUEUE_OF.items():
        assert app.amqp.router.route({}, name)["queue"].name == queue


def test_a_plain_worker_serves_both_queues() -> None:
    assert set(app.amqp.queues.consume_from) == set(QUEUE_OF.values())


@pytest.fixture
def broker() -> Iterator[tuple[CeleryPublisher, Channel]]:
    """A publisher with our settings on a broker in memory, and the broker."""
    other = Celery("test", set_as_current=False)
    other.config_from_object("celeryconfig")
    other.conf.update(broker_url="memory://", broker_transport_options={})
    with other.connection_for_write() as connection:
        channel = connection.default_channel
        for queue in other.amqp.queues.values():
            queue(channel).declare()
            channel.queue_purge(queue.name)
        yield CeleryPublisher(other, iterate_queues=1), channel


def messages(channel: Any, queue: str) -> list[dict[str, Any]]:
    """Take every message from a queue."""
    return [channel._get(queue) for _ in range(channel._size(queue))]


def test_a_message_reaches_its_own_queue_once(broker: tuple[CeleryPublisher, Channel]) -> None:
    publisher, channel = broker
    publisher.publish_cleanup("mm_01", 3)
    assert [len(messages(channel, queue)) for queue in ("iterate", "cleanup")] == [0, 1]
    publisher.publish_iteration(
        Iteration(instance_id="mm_01", account="a", epoch=3, tick=5, task_id="mm_01.3.5")
    )
    assert [len(messages(channel, queue)) for queue in ("iterate", "cleanup")] == [1, 0]


def test_where_iterations_are_divided_each_account_has_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEANBOOK_ITERATE_QUEUES", "4")
    other = Celery("test", set_as_current=False)
    names = dict(flatten(NAMESPACES))
    given = runpy.run_path(str(Path(celeryconfig.__file__)))
    other.conf.update({name: value for name, value in given.items() if name in names})
    other.conf.update(broker_url="memory://", broker_transport_options={})
    publisher = CeleryPublisher(other, iterate_queues=4)
    assert tuple(other.amqp.queues.consume_from) == all_queues(4), "a plain worker serves all"
    with other.connection_for_write() as connection:
        for account in ("a", "b", "c", "d"):
            publisher.publish_iteration(
                Iteration(instance_id=account, account=account, epoch=1, tick=0, task_id=account)
            )
        publisher.publish_cleanup("a", 1)
        found = {queue: messages(connection.default_channel, queue) for queue in all_queues(4)}
    assert {
        queue: [message["headers"]["id"] for message in there]
        for queue, there in found.items()
        if queue != "cleanup"
    } == {
        queue: [account for account in "abcd" if iterate_queue(account, 4) == queue]
        for queue in all_queues(4)[:-1]
    }
    assert len(found["cleanup"]) == 1


@pytest.mark.parametrize(("countdown_s", "waits"), [(0.0, False), (2.5, True)])
def test_an_iteration_is_sent_under_its_announced_id_with_its_countdown(
    broker: tuple[CeleryPublisher, Channel], countdown_s: float, waits: bool
) -> None:
    publisher, channel = broker
    publisher.publish_iteration(
        Iteration(
            instance_id="mm_01", account="a", epoch=3, tick=None, task_id="the id", countdown_s=countdown_s
        )
    )
    (message,) = messages(channel, "iterate")
    headers = message["headers"]
    assert (headers["id"], headers["task"]) == ("the id", "tasks.iterate")
    assert (headers["eta"] is not None) is waits
    assert headers["argsrepr"] == "mm_01 · epoch 3 · wake-up"


def test_an_interrupt_that_cannot_be_sent_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleanup must not fail for it: it waits for the end of the iteration's lease."""

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(app.control, "revoke", fail)
    CeleryPublisher(app, iterate_queues=1).interrupt("task")
