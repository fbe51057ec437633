"""The sections of an instance's file, in the layout that users of the old program have.

The attributes are the keys of the file, except where a key lacks its unit: `interval` is `interval_s`,
`duration` is `duration_s`, `wake_spacing` is `wake_spacing_s`, `default_window` is `window_ms`.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from market.instrument import MarketType
from strategies.base import Params
from strategies.effects import LIVE, tell_effects
from wording import said

#: An instance's name is a file name, a part of Redis keys and a word on the command line.
INSTANCE_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

#: It becomes part of URLs and of Redis keys.
_SYMBOL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_:./-]{0,39}$"

Text = Annotated[str, StringConstraints(max_length=2000)]


class SectionModel(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=tell_effects)


class MetadataConfig(SectionModel):
    """What the instance is and where it trades."""

    instance_id: str = Field(
        pattern=INSTANCE_ID_PATTERN,
        description="Name of the instance; the same as the file's, without .json.",
    )
    name: Text = Field(default="", json_schema_extra=LIVE, description="Shown to people.")
    description: Text = Field(default="", json_schema_extra=LIVE, description="Free text.")
    exchange: str = Field(description="Name of the exchange.")
    symbol: str = Field(
        pattern=_SYMBOL_PATTERN, description="As the exchange calls it, for example SOL_USDC_PERP."
    )
    market_type: MarketType = Field(description="Kind of market.")
    strategy: str = Field(description="Name of the strategy.")
    created_at: Text | None = Field(default=None, json_schema_extra=LIVE, description="Free text.")
    updated_at: Text | None = Field(default=None, json_schema_extra=LIVE, description="Free text.")
    version: Text | None = Field(
        default=None, json_schema_extra=LIVE, description="The user's own version of this file."
    )
    author: Text | None = Field(default=None, json_schema_extra=LIVE, description="Free text.")
    tags: tuple[Text, ...] = Field(default=(), json_schema_extra=LIVE, description="Free words.")

    @model_validator(mode="after")
    def _symbol_fits_market_type(self) -> Self:
        is_perp = self.market_type is MarketType.PERP
        if self.exchange == "backpack" and self.symbol.endswith("_PERP") != is_perp:
            kind = MarketType.SPOT if is_perp else MarketType.PERP
            raise ValueError(
                said(
                    'symbol is that of a {kind} market, market_type is "{given}"; correct one of them '
                    "(perpetuals end in _PERP)",
                    kind=kind.value,
                    given=self.market_type.value,
                )
            )
        return self


class DaemonConfig(SectionModel):
    """Settings of the old program's processes; checked for spelling and type, without effect here."""

    python_path: Text | None = None
    script_path: Text | None = None
    working_dir: Text | None = None
    log_dir: Text | None = None
    db_path: Text | None = None
    web_port: int | None = None
    max_restart_attempts: int | None = None
    restart_delay: int | None = None
    health_check_interval: int | None = None
    memory_limit_mb: int | None = None
    cpu_limit_percent: int | None = None
    auto_restart: bool = False
    log_cleanup_interval: int | None = None
    log_retention_days: int | None = None


class OrdersOnStop(StrEnum):
    """What a stop does with own orders."""

    #: Cancel them, and prove that none is left.
    CANCEL = "cancel"
    #: Leave them on the book.
    KEEP = "keep"


class PositionOnStop(StrEnum):
    """What a stop does with the position."""

    #: Leave it.
    KEEP = "keep"
    #: Bring it to zero once the orders are gone.
    CLOSE = "close"


class StopConfig(SectionModel):
    """What a stop does."""

    is_live: ClassVar[bool] = True

    orders: OrdersOnStop = Field(default=OrdersOnStop.CANCEL, description="Own orders.")
    position: PositionOnStop = Field(
        default=PositionOnStop.KEEP, description='The position; "close" needs exclusive_symbol.'
    )

    @model_validator(mode="after")
    def _nothing_is_left_that_reopens(self) -> Self:
        if self.position is PositionOnStop.CLOSE and self.orders is OrdersOnStop.KEEP:
            raise ValueError(
                said('position "close" needs orders "cancel": an order left on the book would open it again')
            )
        return self


class Pace(SectionModel):
    """The keys of `strategy_config` that belong to the runner."""

    is_live: ClassVar[bool] = True

    interval_s: Decimal = Field(
        default=Decimal(60),
        ge=Decimal("0.2"),
        le=86_400,
        alias="interval",
        description="Pause between two iterations, seconds; a fraction is fine.",
    )
    duration_s: Decimal | None = Field(
        default=None,
        gt=0,
        le=31_536_000,
        alias="duration",
        description="The run ends by itself after this many seconds. Null: it runs until it is stopped.",
    )
    wake_on_move_bps: Decimal | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="An iteration follows at once when the middle of the book has moved by more than this, "
        "basis points; a feed has to run. Null: prices wait for the interval.",
    )
    wake_spacing_s: Decimal = Field(
        default=Decimal(1),
        ge=Decimal("0.2"),
        le=3_600,
        alias="wake_spacing",
        description="Least time between two iterations that moves of the price bring about, seconds.",
    )


class TopLevel(SectionModel):
    """The keys beside the sections."""

    live: bool = Field(
        default=False, description="true: real orders with real money. false: the simulated exchange."
    )
    exclusive_symbol: bool = Field(
        default=False, description="true: nothing and nobody else trades this symbol with this account."
    )


class StrategyConfig(BaseModel):
    """`strategy_config`, parted into what the runner and what the strategy uses."""

    model_config = ConfigDict(frozen=True)

    pace: Pace
    params: Params

    @property
    def interval_s(self) -> Decimal:
        """Return the pause between two iterations, seconds."""
        return self.pace.interval_s

    @property
    def interval_ms(self) -> int:
        """Return the pause between two iterations, ms."""
        return int(self.pace.interval_s * 1000)

    @property
    def duration_ms(self) -> int | None:
        """Return how long a run lasts, ms; None until it is stopped."""
        return None if self.pace.duration_s is None else int(self.pace.duration_s * 1000)
