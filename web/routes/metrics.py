"""The numbers of this host and of the fleet, for a Prometheus that has a token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from web.auth import Who, With

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response)
def metrics(_: Who, services: With, accept: Annotated[str, Header()] = "") -> Response:
    """Tell what is counted here and how the fleet stands, as `manage.py metrics` does."""
    text, content_type = services.exposition.text(accept)
    return Response(text, headers={"Content-Type": content_type})
