"""Show stops while they happen: live on a terminal, one aligned line per phase elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from cli.language import padded, tr
from cli.output import Output, printable
from cli.receipt_view import detail_words
from runner.stop_progress import PhaseSeen, StopProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PHASE_WIDTH = 18
#: With more stops than this, the live table shows the last phase of each only.
DETAILED_STOPS = 3


class Display(Protocol):
    """Shows progress."""

    def __enter__(self) -> Display:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was shown stays."""
        ...

    def seen(self, stop: StopProgress, phase: PhaseSeen) -> None:
        """Show a phase."""
        ...

    def say(self, text: str) -> None:
        """Tell something that belongs to no phase."""
        ...


class LineDisplay:
    """One line per phase, to standard error."""

    def __init__(self, output: Output, stops: Sequence[StopProgress]) -> None:
        self._output = output
        self._width = max((len(stop.instance_id) for stop in stops), default=0)

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def seen(self, stop: StopProgress, phase: PhaseSeen) -> None:
        """Print instance, time since the request, phase and detail."""
        text = (
            f"{stop.instance_id:<{self._width}}  {phase.after_ms / 1000:+9.3f} s  "
            f"{padded(tr(phase.phase), PHASE_WIDTH)}  {detail_words(phase.detail)}"
        )
        self._output.say(text.rstrip())

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._output.say(text, "warn")


class LiveDisplay:
    """A table that is redrawn as phases come in."""

    def __init__(self, console: Console, stops: Sequence[StopProgress]) -> None:
        from rich.live import Live

        self._stops = stops
        self._console = console
        self._live = Live(console=console, get_renderable=self.table, refresh_per_second=10)

    def __enter__(self) -> LiveDisplay:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def seen(self, stop: StopProgress, phase: PhaseSeen) -> None:
        """Redraw."""
        self._live.refresh()

    def say(self, text: str) -> None:
        """Print a sentence above the table."""
        self._console.print(printable(text), style="yellow", markup=False)

    def table(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        detailed = len(self._stops) <= DETAILED_STOPS
        for stop in self._stops:
            shown = tuple(stop.phases) if detailed else tuple(stop.phases[-1:])
            for phase in shown:
                style = (
                    "green" if phase.phase == "stopped" else "red" if phase.phase == "not clean yet" else ""
                )
                table.add_row(
                    Text(printable(stop.instance_id), "bold"),
                    Text(f"{phase.after_ms / 1000:+.3f} s", "dim", justify="right"),
                    Text(printable(tr(phase.phase)), style),
                    Text(printable(detail_words(phase.detail)), "dim"),
                )
            if not stop.is_over and (detailed or not shown):
                table.add_row(Text(printable(stop.instance_id), "bold"), "", Spinner("dots"), "")
        return table


def open_display(output: Output, stops: Sequence[StopProgress]) -> Display:
    """Return what fits standard error."""
    console = output.live_console()
    return LiveDisplay(console, stops) if console else LineDisplay(output, stops)
