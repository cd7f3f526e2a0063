"""Nodes for regular expressions.

Some expressions take longer than anybody can wait ("catastrophic backtracking"), and Python cannot stop one in its own
process: so each is matched in a process of its own, which is ended when it takes too long.
"""

from typing import Annotated

from graph import Choice, Range, Text, node
from nodes.matching import run_expression

LongText = Annotated[str, Text(multiline=True)]


@node("RegexMatch", title="Regex Match", category="utils/string")
def regex_match(
    *,
    string: LongText,
    regex_pattern: LongText,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
) -> bool:
    """Whether a regular expression matches somewhere in a text. It has 5 seconds.

    Inputs:
        string: The text, of a million characters at most.
        regex_pattern: The expression, as Python's re reads it, of 10000 characters at most.
        case_insensitive: Whether capital and small letters are the same.
        multiline: Whether ^ and $ match at each line.
        dotall: Whether a dot matches the end of a line too.

    Outputs:
        BOOLEAN: Whether it matches.
    """
    flags = _flags(case_insensitive, multiline, dotall)
    return run_expression("match", regex_pattern, string, flags) == [True]


@node("RegexExtract", title="Regex Extract", category="utils/string")
def regex_extract(
    *,
    string: LongText,
    regex_pattern: LongText,
    mode: Annotated[str, Choice(("First Match", "All Matches", "First Group", "All Groups"))] = "First Match",
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    group_index: Annotated[int, Range(0, 100)] = 1,
) -> str:
    """What a regular expression finds in a text. It has 5 seconds.

    Inputs:
        string: The text, of a million characters at most.
        regex_pattern: The expression, as Python's re reads it, of 10000 characters at most.
        mode: The first match or all of them (their first group, where the expression has several); or a group of
            the first match, or of all.
        case_insensitive: Whether capital and small letters are the same.
        multiline: Whether ^ and $ match at each line.
        dotall: Whether a dot matches the end of a line too.
        group_index: Which group, for the modes that ask for one; 0 is the whole match.

    Outputs:
        STRING: What was found, one per line; empty when nothing was, or when there is no such group.
    """
    flags = _flags(case_insensitive, multiline, dotall)
    found = run_expression(mode, regex_pattern, string, flags, group=group_index)
    return "\n".join(str(text) for text in found)


@node("RegexReplace", title="Regex Replace", category="utils/string")
def regex_replace(
    *,
    string: LongText,
    regex_pattern: LongText,
    replace: LongText,
    case_insensitive: bool = True,
    multiline: bool = False,
    dotall: bool = False,
    count: Annotated[int, Range(0, 100)] = 0,
) -> str:
    r"""Text with what a regular expression finds replaced. It has 5 seconds.

    Inputs:
        string: The text, of a million characters at most.
        regex_pattern: The expression, as Python's re reads it, of 10000 characters at most.
        replace: What to put in its place; \1 is the first group, \g<name> a named one.
        case_insensitive: Whether capital and small letters are the same.
        multiline: Whether ^ and $ match at each line.
        dotall: Whether a dot matches the end of a line too.
        count: How many to replace at most; 0 for all.

    Outputs:
        STRING: The changed text.
    """
    flags = _flags(case_insensitive, multiline, dotall)
    (changed,) = run_expression("replace", regex_pattern, string, flags, replace=replace, count=count)
    return str(changed)


def _flags(case_insensitive: bool, multiline: bool, dotall: bool) -> str:
    """As letters, so that they need no import of re here."""
    chosen = {"i": case_insensitive, "m": multiline, "s": dotall}
    return "".join(letter for letter, wanted in chosen.items() if wanted)
