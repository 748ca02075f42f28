"""Saying no to a caller, and noting that it was said."""

import logging
from typing import Any, TypeAlias

from gateway.core.centrifuge.refusals import error_of
from gateway.core.server_api.callers import Caller
from gateway.domain.errors import Denied, GatewayError
from gateway.protocols.server_api.answers import ApiError

Result: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Result | ApiError

logger = logging.getLogger(__name__)


def said(caller: Caller, refusal: GatewayError) -> ApiError:
    """The error that stands for a refusal."""
    if isinstance(refusal, Denied):
        note(caller, refusal)
    return ApiError(error_of(refusal), refusal.detail)


def note(caller: Caller, denial: Denied) -> None:
    logger.info("the server API refused %s: %s", caller.name, ascii(denial.detail)[1:-1])
