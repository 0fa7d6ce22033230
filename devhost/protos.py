"""Stand-ins for the protobuf messages that host and worker library exchange.

In Azure these travel between two processes; here both sides share one, and the library only reads attributes and
calls ``WhichOneof``, so plain objects do. The library is handed this very module as its ``protos``.
"""

# ruff: noqa: N802 - protobuf's own method names

from typing import Any


class Message:
    """Any message: the fields it was given, as attributes."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class TypedData:
    """A value with exactly one kind: ``string``, ``json``, ``bytes``, ``int``, ``double`` or ``http``."""

    def __init__(self, **value: Any) -> None:
        ((self.kind, self.value),) = value.items()
        setattr(self, self.kind, self.value)

    def WhichOneof(self, group: str) -> str:
        return self.kind


class ParameterBinding:
    """One named argument or output of an invocation."""

    def __init__(self, name: str, data: TypedData | None) -> None:
        self.name = name
        self.data = data

    def WhichOneof(self, group: str) -> str:
        return "data"


class StatusResult(Message):
    Failure = 0
    Success = 1


class BindingInfo(Message):
    undefined = -1
    out = 1
    inout = 2


class RpcHttpCookie(Message):
    class SameSite:
        ExplicitNone = "None"
        Lax = "Lax"
        Strict = "Strict"


# "None" cannot be written as a class attribute, yet the library looks it up by that name: no SameSite given.
setattr(RpcHttpCookie.SameSite, "None", "")


class FunctionEnvironmentReloadResponse(Message): ...


class FunctionLoadResponse(Message): ...


class FunctionMetadataResponse(Message): ...


class InvocationResponse(Message): ...


class NullableBool(Message): ...


class NullableDouble(Message): ...


class NullableString(Message): ...


class NullableTimestamp(Message): ...


class RpcException(Message): ...


class RpcFunctionMetadata(Message): ...


class RpcHttp(Message): ...


class RpcRetryOptions(Message): ...


class WorkerInitResponse(Message): ...


class WorkerMetadata(Message): ...
