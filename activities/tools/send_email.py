"""Sending an e-mail, by way of the outbox."""

from typing import Annotated

from pydantic import Field

from perdure.tools import ToolContext, ToolError, tool

PATTERN = r"^[^@\s<>,;\"\\]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
"""What is surely no address does not match; whether one exists, only its mail server knows."""

type Address = Annotated[str, Field(pattern=PATTERN, json_schema_extra={"format": "email"})]

MAX_RECIPIENTS = 50
MAX_SUBJECT, MAX_BODY = 200, 50_000


@tool(approval="always", timeout=20.0)
async def send_email(to: list[Address], subject: str, body: str, context: ToolContext) -> str:
    """Send an e-mail in the user's name. A person sees it first and may refuse it.

    Args:
        to: Addresses of the recipients.
        subject: One line that says what it is about.
        body: The whole text, without markup.
    """
    if not 1 <= len(to) <= MAX_RECIPIENTS:
        raise ToolError(f"There are {len(to)} recipients; give 1 to {MAX_RECIPIENTS}.")
    if not subject.strip() or len(subject) > MAX_SUBJECT or not subject.isprintable():
        raise ToolError(f"The subject must be one line of 1 to {MAX_SUBJECT} characters.")
    if not body.strip() or len(body) > MAX_BODY:
        raise ToolError(f"The body must have 1 to {MAX_BODY:,} characters.")
    await context.outbox.put({"to": to, "subject": subject.strip(), "body": body})
    return f"The e-mail to {', '.join(to)} is in the outbox, to be sent."
