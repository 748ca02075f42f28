"""A reference: channels over Redis in FastAPI, the way one would write them on the first day.

One task per channel listens to Redis and awaits ``send_text`` for one socket after the other;
the token comes in the query and is checked by python-jose. Run it with stock uvicorn:

    BENCH_JWT_SECRET=… BENCH_REDIS_URL=redis://… uvicorn --app-dir bench seed_server:app
"""

import asyncio
import os

from fastapi import FastAPI, Query, WebSocket, WebSocketDisconnect
from jose import JWTError, jwt
from redis import asyncio as redis

SECRET = os.environ["BENCH_JWT_SECRET"]
REDIS_URL = os.environ["BENCH_REDIS_URL"]

app = FastAPI()
members: dict[str, set[WebSocket]] = {}
listeners: dict[str, asyncio.Task[None]] = {}


@app.websocket("/ws/{channel}")
async def subscribe(websocket: WebSocket, channel: str, token: str = Query()) -> None:
    if user_of(token) is None:
        await websocket.close(code=1008)
        return
    await websocket.accept()
    if channel not in members:
        members[channel] = set()
        await listen(channel)
    members[channel].add(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        members[channel].discard(websocket)


@app.post("/publish/{channel}")
async def publish(channel: str, message: str) -> dict[str, str]:
    async with redis.from_url(REDIS_URL) as client:
        await client.publish(channel, message)
    return {"status": "published", "channel": channel, "message": message}


def user_of(token: str) -> str | None:
    try:
        # The same tokens go to every server that is measured, and this one knows no audience.
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    except JWTError:
        return None
    user: str | None = claims.get("sub")
    return user


async def listen(channel: str) -> None:
    subscription = redis.from_url(REDIS_URL).pubsub()

    async def forward() -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                text = message["data"].decode()
                for websocket in tuple(members[channel]):
                    await websocket.send_text(f"[{channel}] {text}")

    await subscription.subscribe(channel)
    listeners[channel] = asyncio.create_task(forward())  # noqa: TID251 (the design measured here)
