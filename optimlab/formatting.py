"""Formatting of numbers, durations, lists, names and settings as text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}  # in seconds
PLAIN = 1e-5, 1e7  # an axis whose numbers lie between these is written without powers of ten
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int | None = None) -> str:
    """Return a number as short plain text: 0.0003, 10, 2×10⁻⁵, or with `digits` digits: 0.100."""
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "−∞"
    return _typeset(f"{value:g}" if digits is None else f"{value:#.{digits}g}".removesuffix("."))


def numbers(values: Iterable[float]) -> list[str]:
    """Return the numbers of an axis as texts of one notation: 0.00003 and 0.001, or 3×10⁻⁶ and 10⁻³."""
    texts = [f"{value:g}" for value in values]
    sizes = [abs(float(text)) for text in texts if float(text)]
    if all(PLAIN[0] <= size < PLAIN[1] for size in sizes):
        return [np.format_float_positional(float(text), trim="-").replace("-", "−") for text in texts]
    return [_typeset(_scientific(float(text))) for text in texts]


def _scientific(value: float) -> str:
    """Return a number as mantissa and exponent, without an exponent of 0: 3e-06, 1."""
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{float(mantissa):g}" + (f"e{exponent}" if int(exponent) else "")


def _typeset(text: str) -> str:
    """Return a number such as 2e-05 as it is printed: 2×10⁻⁵."""
    mantissa, _, exponent = text.replace("-", "−").partition("e")
    if not exponent:
        return mantissa
    power = "10" + str(int(exponent.replace("−", "-"))).translate(SUPERSCRIPTS)
    return mantissa[:-1] + power if mantissa in ("1", "−1") else f"{mantissa}×{power}"


def short(value: float) -> str:
    """Return a number with at most three significant digits: 3.71, 6.4, 7, 1230."""
    return number(float(f"{value:.3g}"))


def fixed(value: float, decimals: int) -> str:
    """Return a number with fixed decimals: 0.50, −3.14; a small one is 0.00, whatever its sign."""
    if not np.isfinite(value):
        return number(value)
    return f"{value:z.{decimals}f}".replace("-", "−")


def join_words(words: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def duration(seconds: float) -> str:
    """Return a duration as text: 0.4 s, 40 s, 2.5 min, 12 min, 3.5 h."""
    if seconds < 120:
        amount, unit = seconds, "s"
    elif seconds < 7200:
        amount, unit = seconds / 60, "min"
    else:
        amount, unit = seconds / 3600, "h"
    return f"{amount:.1f} {unit}" if amount < 9.95 else f"{amount:,.0f} {unit}"


def read_duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 50m, 1.5h, 1h30m or 2d.

    Raises
    ------
    ValueError
        If the text is not a duration, or is zero.
    """
    pieces = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(amount) * UNITS[unit] for amount, unit in pieces)
    if not seconds or text != "".join(amount + unit for amount, unit in pieces):
        raise ValueError(f"must be a duration such as 90s, 50m or 1h30m, got {text!r}")
    return seconds


def split_name(split: str) -> str:
    """Return the name of a split in text: "training" for "train"."""
    return "training" if split == "train" else split


def with_unit(text: str, unit: str) -> str:
    """Return the title of an axis with its unit, if it has one: "training loss (nats)"."""
    return f"{text} ({unit})" if unit else text


def toml_key(key: str) -> str:
    """Return a TOML key, bare if that is legal, else quoted."""
    is_bare = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    return key if is_bare else json.dumps(key, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """Return a setting as TOML; in a list of tables, each table has its own line."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        items = [toml_value(each) for each in value]
        if any(item.startswith("{") for item in items):
            lines = "".join(f"    {item},\n" for item in items)
            return f"[\n{lines}]"
        return f"[{', '.join(items)}]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def toml_document(document: Mapping[str, Any], head: str = "") -> str:
    """Return a document as TOML text, with a header for each table.

    Examples
    --------
    >>> print(toml_document({"title": "T", "optimizers": {"SGD": {"momentum": 0.9}}}), end="")
    title = "T"
    <BLANKLINE>
    [optimizers.SGD]
    momentum = 0.9
    """
    tables = {key: value for key, value in document.items() if isinstance(value, Mapping)}
    others = {key: value for key, value in document.items() if key not in tables}
    text = "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in others.items())
    if head and (others or not tables):
        text = f"\n[{head}]\n{text}"
    for key, table in tables.items():
        text += toml_document(table, f"{head}.{toml_key(key)}" if head else toml_key(key))
    return text


def p_value_text(p_value: float) -> str:
    """Return a p-value as text, rounded up."""
    return "p < 0.001" if p_value < 0.001 else f"p = {rounded_up(p_value)}"


def rounded_up(p_value: float, level: float = 0.05) -> str:
    """Return a p-value with two digits, rounded up; with three if two would give the level itself."""
    for digits in (2, 3):
        unit = 10.0 ** (math.floor(math.log10(p_value)) + 1 - digits)
        text = f"{math.ceil(p_value / unit - 1e-9) * unit:.{digits}g}"
        if float(text) != level:
            break
    return text
