"""The application: paths, errors, guards and the page, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from web import docs, errors
from web.guarding import Guarding
from web.models import ErrorBody
from web.routes import config, control, health, history, instances, metrics, session, streaming
from web.services import Services

API = "/api/v1"
STATIC = Path(__file__).with_name("static")
SUMMARY = """Start, watch and stop instances. Money is text, times are Unix ms.

Send `Authorization: Bearer TOKEN` (`manage.py web-token NAME` makes one), or log in with `POST /session`
and send `X-CSRF-Token` with every change. Changes are written at once; `/events/stream` shows what follows.
"""


def create_app(services: Services) -> FastAPI:
    """Return the application around `services`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.hub.start()
        yield
        await services.hub.stop()
        services.restarts.end()
        services.ledger.close()
        services.context.client.close()

    app = FastAPI(
        title="Cleanbook",
        version="1",
        description=SUMMARY,
        lifespan=lifespan,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={"4XX": {"model": ErrorBody}, "503": {"model": ErrorBody}},
    )
    app.state.services = services
    errors.install(app)
    api = APIRouter(prefix=API)
    for module in (session, instances, config, control, history, streaming, health):
        api.include_router(module.router)
    app.include_router(api)
    app.include_router(metrics.router)
    docs.install(app)
    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
    app.add_middleware(Guarding, settings=services.settings)
    return app
