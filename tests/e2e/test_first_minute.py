"""The main job, through one real process."""

from tests.support.clients import listen, make_token, publish, receive_json
from tests.support.servers import GatewayProcess


async def test_what_is_published_over_rest_is_received_on_a_socket(gateway: GatewayProcess) -> None:
    token = make_token("alice", "publisher")
    async with listen(gateway.ws, "first-minute", token) as socket:
        answer = await publish(gateway.http, "first-minute", "Hola canal", token)
        message = await receive_json(socket)

    assert answer.status == 200
    assert message["data"] == "Hola canal"
    assert message["user"] == "alice"
    receipt = answer.json
    assert [message[k] for k in ("channel", "id", "offset", "epoch")] == [
        receipt[k] for k in ("channel", "id", "offset", "epoch")
    ]
