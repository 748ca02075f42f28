"""What operators see of a gateway that runs: its log, its measures and its traces."""

from enum import StrEnum

from pydantic import Field

from gateway.settings.base import Topic


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class OperateSettings(Topic):
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="How much is logged."
    )
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="json: an object a line, for programs. console: for people. auto: console on "
        "a terminal, json elsewhere.",
    )
    access_log: bool = Field(True, description="Log every HTTP request, but for health checks.")
    socket_log: bool = Field(
        False,
        description="Log every socket that comes and goes. A line costs a quarter of a connect.",
    )

    metrics: bool | None = Field(
        None,
        description="Serve measures for Prometheus at /metrics. Default: not in production, but "
        "where they have a port of their own.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="A port for /metrics alone: plain HTTP, and /metrics nowhere else. 0: none. "
        "Of several workers each takes the next free one from here on.",
    )
    metrics_host: str | None = Field(
        None, description="Address of the port for /metrics. Default: that of the gateway."
    )

    tracing: bool = Field(
        False,
        description="Trace messages from publish to delivery with OpenTelemetry, which the extra "
        "gateway[otel] installs; OTEL_* variables say where traces go.",
    )
