"""The messages of the Protobuf spelling: which number each field goes by.

Written as a .proto file would have them, and made into classes when this is imported: no code is
generated, and nothing has to match the version of a generator. What we neither read nor write is
left out; Protobuf skips it. Needs the extra ``gateway[protobuf]``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE = "gateway.centrifuge"

MESSAGES: Final[Mapping[str, str]] = {
    # What a client says.
    "Command": """
        uint32 id = 1; ConnectRequest connect = 4; SubscribeRequest subscribe = 5;
        UnsubscribeRequest unsubscribe = 6; PublishRequest publish = 7;
        PresenceRequest presence = 8; PresenceStatsRequest presence_stats = 9;
        HistoryRequest history = 10; PingRequest ping = 11; SendRequest send = 12;
        RPCRequest rpc = 13; RefreshRequest refresh = 14; SubRefreshRequest sub_refresh = 15
    """,
    "ConnectRequest": """
        string token = 1; bytes data = 2; map<string, SubscribeRequest> subs = 3;
        string name = 4; string version = 5
    """,
    "SubscribeRequest": """
        string channel = 1; string token = 2; bool recover = 3; string epoch = 6;
        uint64 offset = 7; bytes data = 8; bool positioned = 9; bool recoverable = 10;
        bool join_leave = 11; string delta = 12; int64 flag = 14; int32 type = 15
    """,
    "UnsubscribeRequest": "string channel = 1",
    "PublishRequest": "string channel = 1; bytes data = 2",
    "PresenceRequest": "string channel = 1",
    "PresenceStatsRequest": "string channel = 1",
    "HistoryRequest": """
        string channel = 1; int32 limit = 7; StreamPosition since = 8; bool reverse = 9
    """,
    "StreamPosition": "uint64 offset = 1; string epoch = 2",
    "PingRequest": "",
    "SendRequest": "bytes data = 1",
    "RPCRequest": "bytes data = 1; string method = 2",
    "RefreshRequest": "string token = 1",
    "SubRefreshRequest": "string channel = 1; string token = 2",
    "EmulationRequest": "string node = 1; string session = 2; bytes data = 3",
    # What the server answers.
    "Reply": """
        uint32 id = 1; Error error = 2; Push push = 4; ConnectResult connect = 5;
        SubscribeResult subscribe = 6; UnsubscribeResult unsubscribe = 7;
        PublishResult publish = 8; PresenceResult presence = 9;
        PresenceStatsResult presence_stats = 10; HistoryResult history = 11;
        RefreshResult refresh = 14; SubRefreshResult sub_refresh = 15
    """,
    "Error": "uint32 code = 1; string message = 2; bool temporary = 3",
    "ConnectResult": """
        string client = 1; string version = 2; bool expires = 3; uint32 ttl = 4; bytes data = 5;
        map<string, SubscribeResult> subs = 6; uint32 ping = 7; bool pong = 8;
        string session = 9; string node = 10
    """,
    "SubscribeResult": """
        bool expires = 1; uint32 ttl = 2; bool recoverable = 3; string epoch = 6;
        repeated Publication publications = 7; bool recovered = 8; uint64 offset = 9;
        bool positioned = 10; bytes data = 11; bool was_recovering = 12; bool delta = 13
    """,
    "UnsubscribeResult": "",
    "PublishResult": "",
    "PresenceResult": "map<string, ClientInfo> presence = 1",
    "PresenceStatsResult": "uint32 num_clients = 1; uint32 num_users = 2",
    "HistoryResult": "repeated Publication publications = 1; string epoch = 2; uint64 offset = 3",
    "RefreshResult": "string client = 1; string version = 2; bool expires = 3; uint32 ttl = 4",
    "SubRefreshResult": "bool expires = 1; uint32 ttl = 2",
    # What it says unasked.
    "Push": """
        string channel = 2; Publication pub = 4; Join join = 5; Leave leave = 6;
        Unsubscribe unsubscribe = 7; Subscribe subscribe = 9; Disconnect disconnect = 11;
        Refresh refresh = 12
    """,
    "Publication": """
        bytes data = 4; ClientInfo info = 5; uint64 offset = 6; map<string, string> tags = 7;
        bool delta = 8; string epoch = 14
    """,
    "ClientInfo": "string user = 1; string client = 2; bytes conn_info = 3; bytes chan_info = 4",
    "Join": "ClientInfo info = 1",
    "Leave": "ClientInfo info = 1",
    "Unsubscribe": "uint32 code = 2; string reason = 3",
    "Subscribe": """
        bool recoverable = 1; string epoch = 4; uint64 offset = 5; bool positioned = 6;
        bytes data = 7
    """,
    "Disconnect": "uint32 code = 1; string reason = 2",
    "Refresh": "bool expires = 1; uint32 ttl = 2",
}

_FIELD = re.compile(r"(repeated )?(?:map<string, (\w+)>|(\w+)) (\w+) = (\d+)")
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="centrifuge.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(";") if fields else ():
            _add_field(message, field.strip())
    # A pool of our own: others of this process may know the protocol, too, by its real name.
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in MESSAGES
    }


def _add_field(message: Any, text: str) -> None:
    found = _FIELD.fullmatch(text)
    assert found, text
    repeated, value, kind, name, number = found.groups()
    field = message.field.add(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if repeated or value else field.LABEL_OPTIONAL
    if value:
        # So a map is spelled: pairs, in a message of their own.
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, "string key = 1")
        _add_field(entry, f"{value} value = 2")
        kind = f"{message.name}.{entry.name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


_CLASSES = _classes()
Command = _CLASSES["Command"]
EmulationRequest = _CLASSES["EmulationRequest"]
Reply = _CLASSES["Reply"]
