"""The rules of ``prose.py`` as data: words, openings and names that this project avoids, and their replacements."""

import re
from typing import Final

LONGEST_SENTENCE: Final = 25

BE: Final = r"(?:am|are|be|been|being|is|was|were)"
PROXY: Final = r"(?:prox|balancer|gateway|ingress|nginx|caddy|traefik|envoy|cdn|firewall|nat\b|tls|vpn|code\b)"

WORDS: Final = (
    (rf"{BE} (?:asked|given|named|said|taken|told)", "name the actor: request, send, report, return, list, accept"),
    (r"tell(?:s|ing)?(?! (?:\w+ )?apart)|told|say(?:s|ing)?(?! why)|said", "report, send, return, state, log"),
    (r"asked", "requested, queried"),
    (rf"what {BE}", "name the thing: the X that ..., or X"),
    (r"whoever|whomever|nobody", "name the actor: you, the client, every caller, no client"),
    (r"answer(?:s|ed)?(?: with)?(?: an?)? \d{3}", "return, respond with"),
    (rf"behind(?= \w)(?! (?:\w+ ){{0,3}}\S*{PROXY})", "after"),
    (r"beside", "besides, next to, with, in addition to"),
    (r"mend(?:ed|ing|s)?", "fix"),
    (r"c(?:ome|omes|oming|ame) (?:about|in)", "connect, arrive; happen"),
    (r"st(?:and|ands|anding|ood) (?:for|in|there)", "is in, is set in; represents"),
    (r"h(?:old|olds|eld) for", "applies to"),
    (rf"{BE} (?:here|there)(?=$|[.,;:)])", "exist, be available"),
    (rf"{BE} away", "unavailable"),
    (r"go(?:es|ing|ne)? on|went on", "continue, resume"),
    (r"let(?:s|ting)? go", "release, drop"),
    (r"look(?:ed|ing|s)? (?:at|into|through)", "read, scan, inspect"),
    (r"g(?:ive|ives|iven|iving|ave) back", "return, release"),
    (r"us(?:e|ed|es|ing) up", "exhaust"),
    (r"at once", "immediately; simultaneously"),
    (r"all that|all still", "everything, all; still"),
    (r"(?<!soon\s)as (?:he|it|they) (?:are|came|come|comes|is|stand|stands|was|were)", "unchanged"),
    (r"by (?:itself|themselves)", "automatically"),
    (r"further", "other, additional, more"),
    (r"likewise|thereby|thereof|thereupon|whereby|wherein|whereof", "drop the word"),
    (r"of which|(?:for|of|to|with) whom", "turn the clause round: subject, verb, object"),
    (r"which is (?:how|what|when|where|why)", "start a new sentence with the reason"),
)
"""A pattern of words (without regard to case), and what to write instead."""

METAPHORS: Final = ((r"(?:door|house|patience|purse|room|wish)(?:e?s)?", "the field's term"),)
"""Further words to avoid in pages for users."""

OPENINGS: Final = (
    (re.compile(r"(?:What|Whatever|Which|Whichever|Who|Whoever|Whom|Whose|Nobody|None)\b"), "name the subject"),
    (re.compile(r"(?:Of(?! course)|That of|That which|Those (?:of|that|which|who))\b"), "begin with the subject"),
    (re.compile(r"One (?:that|which|who)\b|One[,.]"), "use the noun"),
    (re.compile(r"Whether\b"), "write 'If ...', 'Return whether ...' or 'True if ...'"),
)
"""Openings of a sentence, and how to begin it instead."""

NO_VERB: Final = re.compile(
    r"[^A-Za-z]|\w+['’]|[A-Z]{2}|[a-z]|\w*[^s]s\b|(?:About|After|All|Also|Another|Any|As|At|Before|Behind|Besides|Between"
    r"|Both|By|Each|Either|Every|Everything|Finer|First|For|Four|From|Half|Here|How|If|In|Its|Many|Modelled|Never|No"
    r"|Nobody|None|Not|Nothing|Now|Of|On|Once|One|Only|Other|Out|Over|Own|Room|Several|So|Some|Somebody|Something|Such"
    r"|That|The|Their|There|They|This|Those|Three|Through|To|Twice|Two|Under|Until|Up|What|Whatever|When|Where|Whether"
    r"|Which|While|Who|Whoever|Whole|Whose|Why|With|Within|Without|You)\b"
)
"""First words of a docstring that are no imperative verb, besides those that ruff knows (D401)."""

NAME: Final = re.compile(
    r"_*(?:(?!.*(?:need|seed|feed|speed|shed|embed|bleed|breed|exceed|proceed|red|bed)$)[a-z]+ed"
    r"|all|another|any|both|each|it|its|none|one|ones|other|others|rest|that|these|this|those|what|who|whom|whose"
    r"|began|begun|bound|broken|brought|built|came|chosen|done|drawn|driven|found|gave|given|gone|grown|heard|held|hidden"
    r"|kept|known|laid|led|left|lost|made|meant|met|paid|ran|said|sat|seen|sent|shown|sold|spent|spoken|spun|stood|sunk"
    r"|taken|thought|thrown|told|took|torn|understood|went|woken|won|worn|written|wrote)|\w+_of_all"
)
