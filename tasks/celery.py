"""The Celery application, and the one context and publisher of each process."""

from __future__ import annotations

from functools import cache

from celery import Celery

from cores import forbid_core_dumps
from runner.context import Context, open_context
from settings import load
from tasks import transport
from tasks.publishing import CeleryPublisher
from tasks.signing import sign_messages

forbid_core_dumps()
transport.install()
app = Celery("cleanbook", task_cls="tasks.strict:StrictTask", control="tasks.control:StrictControl")
app.config_from_object("celeryconfig")
sign_messages(app, load().message_key_dir)


@cache
def context() -> Context:
    """Return this process's context, opened on first use: inside a task, so after the pool has forked."""
    return open_context(load())


@cache
def publisher() -> CeleryPublisher:
    """Return this process's publisher, made on first use as the context is."""
    return CeleryPublisher(app, iterate_queues=load().iterate_queues)
