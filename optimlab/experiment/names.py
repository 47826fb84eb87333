"""Names of experiments, and labels of optimizers and problems, in any language."""

from __future__ import annotations

import re
import unicodedata

from optimlab.errors import JOINERS

NAME_RULE = (
    "up to 60 letters, digits, spaces and . _ + - = ( ), "
    "the first a letter or a digit, the last no space or dot"
)
_LEGAL = re.compile(r"[^\W_]([\w .+=()-]{0,58}[\w+=()-])?")
# Unicode's letters and marks that show nothing: two names that look the same would differ in them.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NON_JOINER = JOINERS[0]
_VIRAMA = 9  # its combining class: the sign that joins consonants in the scripts of India


def normal(name: str) -> str:
    r"""Return a name in Unicode's form C, in which é is one character however it was typed.

    Examples
    --------
    >>> normal("e\u0301") == normal("\u00e9") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def is_legal_name(name: str) -> bool:
    r"""Return whether a name follows `NAME_RULE`.

    Marks, such as accents and vowel signs, count as letters after a letter or a digit. So do joiners
    where they change what is seen: next to a virama, and the non-joiner between Arabic letters (as in
    Unicode Standard Annex 31, section 2.3).

    Examples
    --------
    >>> is_legal_name("आदम"), is_legal_name("Ada\u200dm"), is_legal_name("SGD (0.1)")
    (True, False, True)
    """
    name, spelt = normal(name), ""
    for place, letter in enumerate(name):
        is_part = _is_mark(letter) or _joins(name, place)
        spelt += "a" if is_part and spelt[-1:].isalnum() else letter
    return bool(_LEGAL.fullmatch(spelt)) and not _UNSEEN.search(name)


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) in ("Mn", "Mc")


def _joins(name: str, place: int) -> bool:
    """Return whether there is a joiner at a place of a name where it changes what is seen."""
    if name[place] not in JOINERS:
        return False
    before, after = name[:place], name[place + 1 :]
    if _VIRAMA in map(unicodedata.combining, before[-1:] + after[:1]):
        return True
    letters = [letter for letter in before if not _is_mark(letter)][-1:] + list(after[:1])
    kinds = [unicodedata.bidirectional(letter) for letter in letters]
    return name[place] == _NON_JOINER and kinds == ["AL", "AL"]
