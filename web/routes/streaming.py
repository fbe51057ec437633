"""What happens, as it happens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from web.auth import Who, With, require_principal
from web.errors import ApiError
from web.stream import TooManyStreams

router = APIRouter(tags=["events"])


@router.get(
    "/events/stream",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}},
)
async def stream(
    request: Request,
    _: Who,
    services: With,
    instance: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", max_length=40)] = "",
) -> StreamingResponse:
    """Send events `hello`, `lifecycle`, `rows` and, with `instance`, `tick`.

    `lifecycle` has the place in the stream as its id: a browser that comes back misses nothing.
    """

    async def is_allowed() -> bool:
        try:
            await require_principal(request)
        except ApiError:
            return False
        return True

    try:
        texts = await services.hub.listen(instance_id=instance, after=last_event_id, is_allowed=is_allowed)
    except TooManyStreams:
        raise ApiError(503, "too many open event streams, or the server is ending; try again later") from None
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(texts, media_type="text/event-stream", headers=headers)
