"""What a provider's answer consists of, read part by part: ``answer`` is a whole one."""

from providers.gemini.reading.answer import read_answer

__all__ = ["read_answer"]
