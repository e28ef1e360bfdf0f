"""Actors through which the workers of a group and their driver talk; torch is not imported here, so that they start at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


class Mailbox:
    """Messages on their way from rank 0 to the driver."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        """Add one."""
        self._messages.append(message)

    def take(self) -> list[Message]:
        """All that have arrived since the last time, in order."""
        taken, self._messages = self._messages, []
        return taken


class Gate:
    """Where the workers of a group wait after an epoch until they hear whether it goes on."""

    def __init__(self) -> None:
        self._open_until = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def open(self, epoch: int) -> None:
        """Let the workers go on that have done this epoch."""
        async with self._changed:
            self._open_until = max(self._open_until, epoch)
            self._changed.notify_all()

    async def close(self) -> None:
        """Let nobody go on any more."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def passed(self, epoch: int) -> bool:
        """Wait, after an epoch, and say whether the training goes on."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or epoch <= self._open_until)
            return epoch <= self._open_until
