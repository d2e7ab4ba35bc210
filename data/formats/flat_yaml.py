"""As much YAML as a YOLO data set's file has: mappings, lists, numbers and words."""

from __future__ import annotations

import re
from typing import Any

COMMENT = re.compile(r"""(?:^|\s)#.*$""")
KEY = re.compile(r"""^('[^']*'|"[^"]*"|[^\s'"\[{][^:]*?)\s*:(?:\s+(.*))?$""")


def parse_yaml(text: str) -> dict[Any, Any]:
    """The mapping in a YAML file, its blocks by indentation, its flow lists as in JSON.

    Raises ValueError, with the line, where it has something else.
    """
    lines: list[tuple[int, str]] = []
    for line in text.expandtabs().splitlines():
        bare = line if re.search(r"""['"].*#.*['"]""", line) else COMMENT.sub("", line)
        open_before = bool(lines) and open_brackets(lines[-1][1])
        if open_before:  # a flow list goes on
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {bare.strip()}")
        elif bare.strip() and bare.strip() not in ("---", "..."):
            lines.append((len(bare) - len(bare.lstrip()), bare.strip()))
    if lines and open_brackets(lines[-1][1]):
        raise ValueError(f"a bracket is not closed: {lines[-1][1]:.40}")
    value, rest = parse_block(lines, 0)
    if rest or not isinstance(value, dict):
        raise ValueError(f"not a mapping: {rest[0][1] if rest else text.strip():.40}")
    return value


def open_brackets(text: str) -> bool:
    """Whether a line opens more brackets than it closes."""
    return sum(text.count(c) for c in "[{") > sum(text.count(c) for c in "]}")


def parse_block(lines: list[tuple[int, str]], indent: int) -> tuple[Any, list[tuple[int, str]]]:
    """The list or mapping that the lines (indentation, text) begin with, and the lines left."""
    entries: list[Any] = []
    mapping: dict[Any, Any] = {}
    while lines and lines[0][0] >= indent:
        depth, text = lines[0]
        lines = lines[1:]
        if text.startswith("- ") or text == "-":
            entries.append(parse_value(text[1:].strip()))
            continue
        match = KEY.match(text)
        if not match:
            raise ValueError(f"a line without a key: {text:.40}")
        key, value = parse_value(match[1]), match[2]
        listed = bool(lines) and lines[0][0] == depth and lines[0][1].startswith("-")
        if value:
            mapping[key] = parse_value(value)
        elif lines and (lines[0][0] > depth or listed):
            block = lines[0][0]
            if listed:  # a list may stand as far left as its key
                own = next((i for i, (_, t) in enumerate(lines) if not t.startswith("-")), None)
                mapping[key], _ = parse_block(lines[:own], block)
                lines = [] if own is None else lines[own:]
            else:
                mapping[key], lines = parse_block(lines, block)
        else:
            mapping[key] = None
    if entries and mapping:
        raise ValueError("a list and a mapping in one block")
    return entries or mapping, lines


def parse_value(text: str) -> Any:
    """A number, a word, or a list or mapping in brackets."""
    text = text.strip()
    if text[:1] in ("[", "{"):
        if text[-1:] != {"[": "]", "{": "}"}[text[0]]:
            raise ValueError(f"a bracket is not closed: {text:.40}")
        parts = split_flow(text[1:-1])
        if text[0] == "[":
            return [parse_value(part) for part in parts]
        pairs = [KEY.match(part) or re.match(r"(.*?):(.*)", part) for part in parts]
        if not all(pairs):
            raise ValueError(f"a mapping without a key: {text:.40}")
        return {parse_value(p[1]): parse_value(p[2] or "") for p in pairs if p}
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text in ("", "null", "~") else text


def split_flow(text: str) -> list[str]:
    """The parts of a flow list, split at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        depth += (c in "[{") - (c in "]}") if not quote else 0
        if c == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]
