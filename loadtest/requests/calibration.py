"""How many characters make a token, learned from what the first answers say of their prompts.

Every model cuts text in its own way, and its tokenizer is often not to be had: a gateway's models have many. But
answers count the tokens of what was asked (``usage``)."""

from typing import Final

TOKENS: Final = 4  # characters of a prompt for each of its tokens, as long as nothing else is known
ANSWERS: Final = 20  # that are learned from: later prompts are made alike
LEAST, MOST = 1.0, 12.0  # characters a token that there are: a server that says otherwise does not count this prompt
SPREAD: Final = 1.25  # the longest prompt over the shortest, from which on what all have in common can be told apart


class Calibration:
    """The rule by which prompts for one kind of request at one server get their lengths: at first 4 characters a token.

    A prompt's tokens are taken for ``common`` ones (of the chat template, of tools) and so many for each character.
    Where all prompts are about as long, the two cannot be told apart, and need not be."""

    def __init__(self) -> None:
        self.answers = 0
        self._characters: list[int] = []
        self._tokens: list[int] = []
        self._rate = 1 / TOKENS
        self._common = 0.0

    def characters(self, tokens: int) -> int:
        """The length of a prompt that is to have so many tokens."""
        return max(1, round((tokens - self._common) / self._rate))

    def piece(self, tokens: int) -> int:
        """The length of a part of a prompt."""
        return max(1, round(tokens / self._rate))

    @property
    def characters_a_token(self) -> float:
        return 1 / self._rate

    def learn(self, characters: int, tokens: int) -> None:
        """Take in an answer that counted ``tokens`` for a prompt of ``characters``. Only the first 20 change anything:
        after them all prompts are made by one rule. Counts that cannot be, such as a fixed number, change nothing:
        prompts would grow and grow."""
        if self.answers >= ANSWERS or tokens <= 0 or not LEAST <= characters / tokens <= MOST:
            return
        self.answers += 1
        self._characters.append(characters)
        self._tokens.append(tokens)
        self._rate, self._common = _line(self._characters, self._tokens)


def _line(characters: list[int], tokens: list[int]) -> tuple[float, float]:
    """Tokens for each character, and those that every prompt has: the line of least squares."""
    through = sum(tokens) / sum(characters), 0.0
    if max(characters) < SPREAD * min(characters):
        return through
    x, y = sum(characters) / len(characters), sum(tokens) / len(tokens)
    spread = sum((one - x) ** 2 for one in characters)
    rate = sum((one - x) * (other - y) for one, other in zip(characters, tokens, strict=True)) / spread
    common = y - rate * x
    return (rate, common) if LEAST <= 1 / max(rate, 1e-9) <= MOST and common >= 0 else through
