"""Request bodies; unknown fields are ignored, so a client can never set an owner."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field

from netra_probe.lab.backend.chat_service import MAX_REQUEST
from netra_probe.lab.backend.data.messages import MAX_CONTENT

ShortText = Annotated[str, Field(max_length=500)]


class ThreadBody(BaseModel):
    """Title and metadata of a thread."""

    title: ShortText | None = None
    metadata: dict[str, Any] | None = None


class MessageBody(BaseModel):
    """A message for a thread."""

    content: Annotated[
        str, Field(min_length=1, max_length=MAX_CONTENT, validation_alias=AliasChoices("content", "message", "text"))
    ]
    metadata: dict[str, Any] | None = None


class ChatMessageBody(MessageBody):
    """A message for a thread named in the body, or for a new one."""

    thread_id: str | None = None


class RunBody(BaseModel):
    """What agents shall work on."""

    request: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REQUEST,
            validation_alias=AliasChoices("user_request", "message", "content", "request", "text"),
        ),
    ]
    thread_id: str | None = None
    references: Annotated[list[str], Field(max_length=20)] = []


class ProfileBody(BaseModel):
    """What a user may change about themselves."""

    name: ShortText | None = None
    preferences: dict[str, Any] | None = None


class SpendBody(BaseModel):
    """One spend record."""

    service: Annotated[str, Field(min_length=1, max_length=500)]
    amount_usd: Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=2)]
    note: Annotated[str, Field(max_length=2000)] = ""


class SpendBatchBody(BaseModel):
    """Several spend records, to be kept together or not at all."""

    records: Annotated[list[SpendBody], Field(min_length=1, max_length=200)]


class CreditsBody(BaseModel):
    """Credits to use up."""

    amount: Annotated[int, Field(gt=0, le=1_000_000)]
    reason: ShortText = ""


class ExportBody(BaseModel):
    """What an export shall be called."""

    label: ShortText = ""


class ToolBody(BaseModel):
    """A tool and its parameters."""

    tool_name: Annotated[str, Field(max_length=200, validation_alias=AliasChoices("tool_name", "name", "tool"))]
    parameters: dict[str, Any] = {}
