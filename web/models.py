"""What the API takes and gives. Money is text, exact; times are Unix ms of the server named in the field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

#: Money, prices, quantities: decimals as text, every digit, no exponent.
Amount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["0.25"])]
#: Unix time in ms.
Ms = Annotated[int, Field(examples=[1767225600000])]


def _one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


#: Somebody's words: one line, since terminals show them, and a line of its own could forge an answer.
Reason = Annotated[str, Field(max_length=500), AfterValidator(_one_line)]


class Answer(BaseModel):
    """Base of what the API gives."""

    model_config = ConfigDict(frozen=True)


class Asked(BaseModel):
    """Base of what the API takes: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldError(Answer):
    """One field that cannot be used."""

    field: str
    value: str | None
    message: str
    allowed: str | None


class ErrorDetail(Answer):
    """What went wrong."""

    code: str
    message: str
    field: str | None = None
    errors: list[FieldError] = []


class ErrorBody(Answer):
    """Every answer with a status of 400 or more."""

    error: ErrorDetail


class LoginRequest(Asked):
    """What a person logs in with."""

    password: SecretStr


class SessionInfo(Answer):
    """Who is asking; `csrf` goes into the header `X-CSRF-Token` of every change by cookie."""

    who: str
    csrf: str | None


Phase = Literal["stopped", "running", "stopping", "failed", "unknown"]


class Row(Answer):
    """One instance in the list."""

    instance_id: str
    #: `unknown`: its record is damaged.
    phase: Phase
    paused: bool = False
    #: 0: never started.
    epoch: int = 0
    seq: int = 0
    strategy: str = ""
    symbol: str = ""
    exchange: str = ""
    account: str = ""
    live: bool | None = None
    #: Closed today (UTC): realised and funding, after fees; null: not known (yet).
    profit_today: Amount | None = None
    profit_asset: str | None = None
    #: Net quantity that the run has made; null: not known.
    position: Amount | None = None
    open_orders: int = 0
    next_due_ms: Ms | None = None
    #: How long the next iteration is overdue.
    lateness_ms: int = 0
    last_iteration_ms: Ms | None = None
    last_error: str = ""
    config_version: str = ""
    #: Of the last cleanup: `clean`, `orders_left`, `position_left`, `unverified`; null: none ended.
    stop_outcome: str | None = None


class Rows(Answer):
    """All instances."""

    instances: list[Row]
    server_ms: Ms


class RowsEvent(Rows):
    """Server-sent event `rows`: those that changed; the first one on a stream has all."""

    #: Instances that are no more.
    gone: list[str] = []


class BookSummary(Answer):
    """What a run has traded and made by now."""

    bought: Amount
    sold: Amount
    net: Amount
    average_price: Amount
    realized: Amount
    fees: Amount
    #: What the limits cut now, a sentence each.
    limits_cutting: list[str]


class ShortReceipt(Answer):
    """The proof of the last stop, in short."""

    epoch: int
    result: str
    clean: bool
    requested_at_ms: Ms | None
    verified_at_ms: Ms | None
    cancelled: int
    #: Null: the exchange could not be asked.
    orders_left: int | None
    problem: str


class InstanceDetail(Row):
    """One instance with all that is known of it."""

    #: As the run was started with, else of the file; names of variables in place of secrets. Null: none.
    config: dict[str, Any] | None
    #: What is wrong with the file, empty when nothing is.
    config_problem: str = ""
    state: BookSummary | None = None
    started_at_ms: Ms | None = None
    started_by: str = ""
    stop_requested_at_ms: Ms | None = None
    stop_by: str = ""
    stop_reason: str = ""
    stopped_at_ms: Ms | None = None
    paused_at_ms: Ms | None = None
    paused_by: str = ""
    pause_reason: str = ""
    #: Of a paused run: when it was known that no own order is left or can still arrive.
    withdrawn_at_ms: Ms | None = None
    errors_in_a_row: int = 0
    cleanup_attempts: int = 0
    #: Ids of own orders that a failed stop left; null: nobody knows which.
    order_ids_left: list[str] | None = None
    #: Last sign of life of a worker that serves its queue; null: none lives.
    heartbeat_ms: Ms | None
    receipt: ShortReceipt | None
    server_ms: Ms


class StartRequest(Asked):
    """How to start; `accept_orders` is for a run that failed to become clean, with `force`."""

    force: bool = False
    #: Ids of all orders left, as refusal and receipt name them; `["unknown"]` where nobody knows them.
    accept_orders: list[str] = []


class StopRequest(Asked):
    """How to stop; without a policy the configuration decides about the position."""

    policy: Literal["keep", "close"] | None = None
    reason: Reason = ""


class RestartRequest(Asked):
    """Why to restart."""

    reason: Reason = "restart"


class StopAllRequest(Asked):
    """`confirm` is the number of running instances that whoever asks has seen."""

    confirm: Annotated[int, Field(ge=0)]
    reason: Reason = ""


class Accepted(Answer):
    """A change that has been written; workers do the rest. Follow it at `/events/stream`."""

    instance_id: str
    epoch: int
    phase: Phase
    #: `started`, `already_running`, `stopping`, `joined`, `already_stopped`, `never_started`, ...
    result: str
    warnings: list[str] = []


class AcceptedAll(Answer):
    """What became of each."""

    instances: list[Accepted]


class PauseRequest(Asked):
    """Why to pause; shown until it is resumed."""

    reason: Reason = ""


class ConfigAnswer(Answer):
    """The file of an instance."""

    config: dict[str, Any]
    version: str
    file: str
    #: Of the run; another one than `version`: the file waits for a restart. Empty: nothing runs.
    running_version: str


class ConfigRequest(Asked):
    """A new configuration; `base_version` is the one that was edited."""

    config: dict[str, Any]
    base_version: str


class ConfigChanged(Answer):
    """One field that becomes another."""

    field: str
    old: Any
    new: Any
    needs_restart: bool


class ConfigResult(Answer):
    """What a new configuration does."""

    version: str
    takes_effect: Literal["next_iteration", "restart", "nothing"]
    changed: list[ConfigChanged]
    warnings: list[str]


class Health(Answer):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(Answer):
    """Whether everything is there that instances need."""

    ready: bool
    #: What is missing, a sentence each.
    reasons: list[str]


class Hello(Answer):
    """First server-sent event of a stream."""

    server_ms: Ms
    #: Events before this place are not repeated.
    stream_id: str
    version: str
