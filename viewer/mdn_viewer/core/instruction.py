"""What the user has still to do."""

from __future__ import annotations

__all__ = ["Instruction"]


class Instruction(ValueError):
    """Something cannot be done yet, and the message says what is missing; nothing is wrong."""
