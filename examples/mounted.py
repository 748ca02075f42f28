"""The gateway inside somebody's own FastAPI application, under any ASGI server.

    GATEWAY_JWT_SECRET=… uvicorn examples.mounted:app

Listen on ws://localhost:8000/realtime/ws/noticias, publish to /realtime/publish/noticias, log in at
/realtime/login. Accounts are in the file gateway.db here, unless GATEWAY_DATABASE_URL names
a database.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway.app import build, create_app
from gateway.configuration import load

gateway = build(load())


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # The lifespan of a mounted application never runs, so the host keeps the gateway running.
    async with gateway.running():
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def hello() -> dict[str, str]:
    return {"hello": "from the host application"}


app.mount("/realtime", create_app(gateway))
