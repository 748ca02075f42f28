"""A reference: what FastAPI costs for a POST that does nothing, with the gateway's body model.

Run it with stock uvicorn: uvicorn --app-dir bench empty_server:app
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Body(BaseModel):
    data: Any


@app.post("/publish/{channel}")
async def publish(channel: str, body: Body) -> dict[str, str]:
    return {"status": "published", "channel": channel}
