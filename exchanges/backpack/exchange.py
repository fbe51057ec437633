"""`Exchange` for Backpack: what each request means and what each answer says about what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from exchanges.backpack import answers, history, parse, parse_market, placement
from exchanges.backpack.client import BackpackClient, Request, Response
from exchanges.backpack.config import MAX_WINDOW_MS, BackpackConfig, Credentials
from exchanges.backpack.rows import Row, load_json
from exchanges.backpack.signing import Fields
from exchanges.base import Authorization, DepthSnapshot, FillsPage, PlaceResult
from exchanges.budget import RateBudget, RequestKind
from exchanges.clock import ExchangeClock
from exchanges.errors import (
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RequestExpired,
    Unavailable,
)
from market.book import OrderBook
from market.instrument import Instrument
from market.orders import CancelAnswer, CancelOutcome, NewOrder, OpenOrder
from market.position import Balance, Fill, FundingPayment, Position
from market.terms import AccountTerms

#: Levels of the book asked for on each side; the exchange knows 5, 10, 20, 50, 100, 500 and 1000.
DEPTH_LEVELS = 50
#: Levels to keep a book from: what is further out stays unknown to it.
SNAPSHOT_LEVELS = 1000
#: How far back an order of unknown fate is looked for: the longest window, twice.
LOOK_BACK_MS = 2 * MAX_WINDOW_MS
#: The exchange stamps orders and answers `/time` on different machines; their clocks may differ by this.
CLOCK_SLACK_MS = 5_000


def open_backpack(config: BackpackConfig, credentials: Credentials, budget: RateBudget) -> BackpackExchange:
    """Return an exchange with a client and a clock of its own; nothing is sent yet.

    Raises:
        AuthenticationFailed: the credentials are no key pair.
    """
    client = BackpackClient(config, credentials, budget)
    return BackpackExchange(client, ExchangeClock(lambda: answers.server_time_ms(client)), config)


class BackpackExchange:
    """Backpack's REST interface as an `Exchange`. May be used by several threads at once.

    Placements are signed with the time they were authorised at, everything else with the exchange's clock
    as `clock` estimates it.
    """

    def __init__(self, client: BackpackClient, clock: ExchangeClock, config: BackpackConfig) -> None:
        self._client = client
        #: The exchange's clock; `signing_time_ms` of it makes an `Authorization`.
        self.clock = clock
        self._config = config

    def server_time_ms(self) -> int:
        """Ask the exchange for its clock, ms since the epoch. Raises like every read."""
        return answers.server_time_ms(self._client)

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of `symbol`; `Refused` when there is none, or it is neither spot nor perpetual."""
        found = answers.read(parse_market.instrument, self._public("/api/v1/market", {"symbol": symbol}))
        if found.symbol != symbol:
            raise Unavailable(f"the exchange answered for {found.symbol} when asked for {symbol}")
        return found

    def order_book(self, symbol: str) -> OrderBook:
        """Return the best `DEPTH_LEVELS` levels of each side."""
        return self._depth(symbol, DEPTH_LEVELS).book

    def depth_snapshot(self, symbol: str) -> DepthSnapshot:
        """Return the best `SNAPSHOT_LEVELS` levels of each side, with the number of their last change."""
        return self._depth(symbol, SNAPSHOT_LEVELS)

    def open_orders(self, symbol: str) -> tuple[OpenOrder, ...]:
        """Return every open order of the account on `symbol`, whoever placed it."""
        return answers.read(parse.orders, self._get("/api/v1/orders", "orderQueryAll", {"symbol": symbol}))

    def account_open_orders(self) -> tuple[OpenOrder, ...]:
        """Return every open order of the account, on whatever symbol, whoever placed it."""
        return answers.read(parse.orders, self._get("/api/v1/orders", "orderQueryAll", {}))

    def find_order(self, symbol: str, client_order_id: int) -> OpenOrder | None:
        """Return the resting order with this client order id, None when the exchange says that none rests."""
        fields: Fields = {"symbol": symbol, "clientId": client_order_id}
        try:
            answer = self._get("/api/v1/order", "orderQuery", fields)
        except OrderNotFound:
            return None
        return answers.read(lambda body: parse.order(Row(load_json(body))), answer)

    def resolve_placement(
        self, symbol: str, client_order_id: int, *, not_before_ms: int | None = None
    ) -> OpenOrder | None:
        """Return what became of a placement of unknown outcome: the order, resting or ended; None: not found.

        Looks among resting orders first and into the history then, so that an order that filled in between
        is found. Orders made before `not_before_ms` (exchange time; give the time the placement was signed
        with) are passed over, for client order ids come round again; the default looks `LOOK_BACK_MS` back.

        None is final only when it was asked for after the request's window had passed: before that, a
        request that is still under way can be accepted. Until then, never send the order again. An order
        that fills at once may for a moment be in neither list; a later call finds it.
        """
        if not_before_ms is None:
            not_before_ms = self.clock.now_ms() - LOOK_BACK_MS
        oldest_ms = not_before_ms - CLOCK_SLACK_MS
        resting = self.find_order(symbol, client_order_id)
        if resting is not None and resting.created_at_ms >= oldest_ms:
            return resting
        return history.order_of_client(self._get, symbol, client_order_id, oldest_ms=oldest_ms)

    def find_ended(self, symbol: str, order_id: str) -> OpenOrder | None:
        """Return an order as the history shows it after its end; None when it does not, or not yet.

        The history lags, and may show orders that still rest; a status that we do not know counts as resting.
        """
        fields: Fields = {"symbol": symbol, "orderId": order_id}
        answer = self._get("/wapi/v1/history/orders", "orderHistoryQueryAll", fields)
        return answers.read(lambda body: parse.ended_order(symbol, order_id, body), answer)

    def account_terms(self) -> AccountTerms:
        """Return the account's fees and leverage limit as they are now."""
        return answers.read(parse.account_terms, self._get("/api/v1/account", "accountQuery", {}))

    def balances(self) -> Mapping[str, Balance]:
        """Return the account's balances by asset. Funds that are lent out are not among them."""
        return answers.read(parse.balances, self._get("/api/v1/capital", "balanceQuery", {}))

    def position(self, symbol: str) -> Position:
        """Return the net position on `symbol`; the exchange's "not found" is known to mean flat."""
        try:
            answer = self._get("/api/v1/position", "positionQuery", {"symbol": symbol})
        except OrderNotFound:
            return Position(symbol=symbol, net_quantity=Decimal(0))
        return answers.read(lambda body: parse.position(symbol, body), answer)

    def positions(self) -> tuple[Position, ...]:
        """Return all positions that are not flat; the exchange's "not found" is known to mean none."""
        try:
            answer = self._get("/api/v1/position", "positionQuery", {})
        except OrderNotFound:
            return ()
        return tuple(row for row in answers.read(parse.positions, answer) if row.net_quantity)

    def fills(self, symbol: str, *, since_ms: int) -> tuple[Fill, ...]:
        """Return all fills on `symbol` at or after `since_ms` (exchange time), oldest first."""
        return history.fills(self._get, {"symbol": symbol}, since_ms=since_ms)

    def account_fills_page(self, *, since_ms: int) -> FillsPage:
        """Return the account's fills at or after `since_ms` (exchange time), of many the oldest part."""
        return history.fills_page(self._get, since_ms=since_ms)

    def funding_payments(self, *, since_ms: int) -> tuple[FundingPayment, ...]:
        """Return the funding of intervals that ended at or after `since_ms`, oldest first."""
        return history.funding_payments(self._get, since_ms=since_ms)

    def place(self, orders: Sequence[NewOrder], authorization: Authorization) -> tuple[PlaceResult, ...]:
        """Send `orders`, `max_batch` in a request, and return one result for each, in order.

        Every request is signed with the authorised time, however long the ones before it took: one that
        comes too late is refused. None is sent twice. After one that got no clear answer the rest is not
        sent at all and comes back as `Unavailable`: nothing happened to those.

        Raises:
            ValueError: an order or the window is malformed; nothing was sent.
        """
        if not 0 < authorization.window_ms <= MAX_WINDOW_MS:
            raise ValueError(
                f"a window of {authorization.window_ms} ms: must be above 0, at most {MAX_WINDOW_MS}"
            )
        size = self._config.max_batch
        chunks = [orders[start : start + size] for start in range(0, len(orders), size)]
        requests = [placement.placement_request(chunk, authorization) for chunk in chunks]
        results: list[PlaceResult] = []
        for chunk, request in zip(chunks, requests, strict=True):
            try:
                results += placement.send(self._ask, request, chunk)
            except Refused as error:
                results += [PlaceResult(error=error)] * len(chunk)
            except (OutcomeUnknown, Unavailable, RateLimited) as error:
                results += [PlaceResult(error=error)] * len(chunk)
                unsent = PlaceResult(error=Unavailable("not sent: the request before it got no clear answer"))
                return (*results, *[unsent] * (len(orders) - len(results)))
        return tuple(results)

    def cancel(self, symbol: str, order_id: str) -> CancelAnswer:
        """Cancel one order and return the outcome, with what was executed of it where the answer shows that.

        Raises:
            OutcomeUnknown: it may have been cancelled; safe to repeat.
            Unavailable, RateLimited, Refused: nothing happened.
        """
        try:
            answer = self._delete("/api/v1/order", "orderCancel", {"symbol": symbol, "orderId": order_id})
        except OrderNotFound:
            return CancelAnswer(outcome=CancelOutcome.ALREADY_GONE)
        if answer.status == 202:
            return CancelAnswer(outcome=CancelOutcome.ACCEPTED)
        executed_quantity = parse.executed_at_end(order_id, answer.body)
        return CancelAnswer(outcome=CancelOutcome.CANCELLED, executed_quantity=executed_quantity)

    def cancel_all(self, symbol: str) -> None:
        """Cancel every order of the account on `symbol`. It may still be under way on return: list them."""
        self._delete("/api/v1/orders", "orderCancelAll", {"symbol": symbol})

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def _depth(self, symbol: str, levels: int) -> DepthSnapshot:
        answer = self._public("/api/v1/depth", {"symbol": symbol, "limit": str(levels)})
        return answers.read(
            lambda body: DepthSnapshot(
                book=parse_market.order_book(symbol, body),
                last_update_id=parse_market.last_update_id(body),
                max_levels=levels,
            ),
            answer,
        )

    def _public(self, path: str, fields: Fields) -> Response:
        return self._ask(Request(method="GET", path=path, kind=RequestKind.READ, payload=fields))

    def _get(self, path: str, instruction: str, fields: Fields) -> Response:
        return self._private("GET", path, RequestKind.READ, instruction, fields)

    def _delete(self, path: str, instruction: str, fields: Fields) -> Response:
        return self._private("DELETE", path, RequestKind.CANCEL, instruction, fields)

    def _private(
        self, method: str, path: str, kind: RequestKind, instruction: str, fields: Fields
    ) -> Response:
        request = Request(
            method=method,
            path=path,
            kind=kind,
            payload=fields,
            instruction=instruction,
            timestamp_ms=self.clock.now_ms,
            window_ms=self._config.window_ms,
        )
        return self._ask(request)

    def _ask(self, request: Request) -> Response:
        try:
            return answers.ask(self._client, request)
        except RequestExpired:
            self.clock.invalidate()
            raise
