"""Texts for prompts: of plain words, of any length, and none that begins like another.

A server keeps what it has computed for the beginning of a prompt. A load whose prompts were sent before, to the same
server or by the run before, measures that cache (up to 86 % too fast: vllm-project/vllm#52884). So a mark stands first
in each text, made of the run, of its target and of the text's own name."""

import functools
import random
from hashlib import blake2b
from typing import Final

_VOCABULARY: Final = """
a able about above across after again all almost along already also always among an and another answer any around as
ask at away back be because become before begin behind below between both bring build but by call can carry case cause
change city clear close cold come common could country course cover cut dark day deep did different do door down draw
dry during each early earth ease east eat end enough even ever every example eye face fact fall far farm fast feel few
field find fire first five fly follow food for form four free from full game garden gave get give go good great green
ground group grow had half hand hard have he head hear heat help her here high hold home hot hour house how idea if in
inch into island it just keep kind king know land large last late learn leave left less let letter life light like line
list listen little live long look low machine made make man many map mark may mean measure men might mile mind minute
more morning most mother mountain move much must name near need never new next night no north note nothing notice now
number of off often old on once one only open or order other our out over own page paper part pass pattern people
picture piece place plain plan plant play point port possible power press problem question quick rain ran reach read
ready real record red rest right river road rock room round rule run said same sand saw say school science sea second
see seem self sentence serve set seven several shape she ship short should show side simple since sing six size sleep
slow small snow so some song soon sound south space speak special spell stand star start state stay step still stop
story street strong study such sun sure surface table take talk teach tell ten test than that the their them then there
these they thing think this those though thought thousand three through time to together too took top toward town trade
travel tree true try turn two under unit until up upon use usual very voice vowel wait walk want war warm was watch
water way we week weight well went were west what wheel when where which while white who whole why will wind with
without wonder wood word work world would write year yes yet you young your
"""
_WORDS: Final = 20_000  # of the one text that all others are pieces of


@functools.cache
def _pool() -> str:
    return " ".join(random.Random("words").choices(_VOCABULARY.split(), k=_WORDS)) + " "


class PromptTexts:
    """The texts of one run on one target, which ``mark`` stands for. The same mark makes the same texts."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        _pool()  # before a load, of which its making would hold up the first request

    def prompt(self, number: int, size: int, chance: random.Random) -> str:
        """The text of ``size`` characters (or the mark's, if that is more) for the request ``number``."""
        return self._text(f"request {number}", size, chance.random())

    def shared(self, name: str, size: int) -> str:
        """The text called ``name``: whenever it is asked for, the same, or more or less of it."""
        return self._text(name, size, random.Random(name).random())

    def _text(self, name: str, size: int, place: float) -> str:
        begin = f"{blake2b(f'{self._mark} {name}'.encode(), digest_size=5).hexdigest()}: "
        return begin + _piece(place, size - len(begin))


def _piece(place: float, size: int) -> str:
    """``size`` characters of the pool, from a word at ``place``, 0 to 1."""
    pool = _pool()
    start = pool.index(" ", int(place * (len(pool) - 1))) + 1
    if start + size <= len(pool):
        return pool[start : start + max(0, size)]
    return (pool[start:] + pool * (size // len(pool) + 1))[:size]
