"""Celery's settings, each with its reason. Facts: measured on Celery 5.6.3 and Valkey 9.1."""

from __future__ import annotations

import ssl

from kombu.entity import Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from sentinel_url import SENTINEL_TIMEOUT_S, is_sentinel, parse
from settings import MESSAGE_CERTIFICATE_FILE, MESSAGE_KEY_FILE, TRUSTED_DIR, load, tls_options
from state.queues import CLEANUP, ITERATE, all_queues

_settings = load()

# The same server as the state by default: `noeviction` and an append-only file protect both.
broker_url = _settings.broker_url
_sentinels = parse(broker_url) if is_sentinel(broker_url) else None
if broker_url.startswith("rediss://") or (_sentinels and _sentinels.is_tls):
    # kombu takes a URL that says nothing about certificates for an unencrypted one; Flower looks here only.
    broker_use_ssl = {**tls_options(broker_url), "ssl_cert_reqs": ssl.CERT_REQUIRED}
if _sentinels:
    # kombu takes no query in a list of Sentinels: what ours says is among the options below. All three, since
    # Celery's command line reads BROKER_URL itself, and that comes before `broker_url`.
    broker_url = broker_read_url = broker_write_url = _sentinels.bare

# Listed by hand, so that reading this file tells what a worker can run.
imports = ("tasks.iteration", "tasks.cleanup", "tasks.signals")

# JSON only: whoever can write to the broker must not be able to run code through pickle.
task_serializer = "json"
accept_content = ["json"]
if _settings.message_key_dir is not None:
    # JSON that is signed (tasks/signing.py): then nobody can send tasks by writing to the broker alone.
    task_serializer = "auth"
    accept_content = ["auth"]
    security_key = str(_settings.message_key_dir / MESSAGE_KEY_FILE)
    security_certificate = str(_settings.message_key_dir / MESSAGE_CERTIFICATE_FILE)
    security_cert_store = str(_settings.message_key_dir / TRUSTED_DIR / "*.pem")

# Every network call ends well before these. The soft limit lets an iteration commit what it knows, the hard
# one only frees a child that does not listen; the lease lies between them, so nobody else starts before.
task_annotations = {
    "tasks.iterate": {
        "soft_time_limit": _settings.iterate_soft_limit_s,
        "time_limit": _settings.iterate_hard_limit_s,
    },
    "tasks.cleanup": {
        "soft_time_limit": _settings.cleanup_soft_limit_s,
        "time_limit": _settings.cleanup_hard_limit_s,
    },
}

# State lives in Redis under our own keys; results would cost five commands a task and nobody reads them.
result_backend = None
task_ignore_result = True

# Cleanup never waits behind iterations: its own queue, served by its own worker (see Procfile).
# A plain `celery -A tasks worker` serves all, one with `-X cleanup` all of the iterations.
_queues = all_queues(_settings.iterate_queues)
task_queues = tuple(
    # Without a routing key of its own each queue would get the default one, and so every message twice.
    Queue(name, routing_key=name)  # type: ignore[no-untyped-call]
    for name in _queues
)
# Whose iteration it is says which queue it goes to (tasks/publishing.py); by hand, any of them will do.
task_default_queue = _queues[0]
task_default_exchange = ITERATE
task_create_missing_queues = False
task_routes = {"tasks.iterate": {"queue": _queues[0]}, "tasks.cleanup": {"queue": CLEANUP}}

# Acknowledge before running. With late acks a reset connection restores a running task at once, so that it
# runs twice; and neither way survives every SIGKILL, which is what the sweep is for.
task_acks_late = False

# One message at a time for each child: a waiting message goes to whoever is free.
worker_prefetch_multiplier = 1

# No `worker_eta_task_limit`: at the limit a worker stops consuming everything, cleanups included.

broker_transport_options: dict[str, object] = {
    # Longer than any countdown (longer ones are split into hops of a third): what is held for longer is taken
    # for lost, and not handed over (tasks/transport.py).
    "visibility_timeout": _settings.visibility_timeout_s,
    # Publishing gives up at once when the broker is away: the sweep repeats it, and kombu's own six seconds
    # would outlast an iteration's soft limit and a cleanup's lease. Consumers: see tasks/reconnect.py.
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.05,
    "interval_max": 0.1,
    # A frozen server must not block publishing for ever.
    "socket_timeout": 5.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 10,
}
if _sentinels:
    broker_transport_options |= {
        "master_name": _sentinels.master_name,
        # Each is asked once and briefly: the next one may know, and whoever asks tries again anyway.
        "sentinel_kwargs": {
            **_sentinels.sentinel_options,
            "socket_timeout": SENTINEL_TIMEOUT_S,
            "socket_connect_timeout": SENTINEL_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
        },
        # A server that is frozen keeps its connections while another one leads: nobody else notices that.
        "health_check_interval": 3,
        # No longer than the Sentinels take: what is sent to such a one keeps the whole worker waiting.
        "socket_timeout": 2.0,
    }
# A worker outlives any outage of the broker; a supervisor would only restart it into the same outage.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# It comes back soon (tasks/reconnect.py), and lets nothing in that is not exactly ours (tasks/gate.py).
worker_consumer = "tasks.gate:GuardedConsumer"
# An iteration that runs while the broker restarts is harmless: the lease decides, not the connection.
worker_cancel_long_running_tasks_on_connection_loss = False

# A child that leaks is replaced now and then; iterations are short, so nothing waits for it.
worker_max_tasks_per_child = 20_000

# Events only when somebody looks (Flower switches them on): they cost half as much as the task itself.
worker_send_task_events = False
task_send_sent_event = False

# Our own formatter, with instance, epoch and seq on every line.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Warm shutdown waits for running tasks; both kinds end by themselves within their soft limits.
worker_enable_remote_control = True  # revoke and interrupt need it
timezone = "UTC"
enable_utc = True
