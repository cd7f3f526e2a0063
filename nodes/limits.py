"""How much a node on text or numbers may make, so that a few of them in a row cannot fill the memory."""

MOST_CHARACTERS = 10_000_000
MOST_ITEMS = 10_000


def limited(text: str) -> str:
    """The text. Raises ValueError when it is longer than MOST_CHARACTERS."""
    check_length(len(text))
    return text


def check_length(characters: int) -> None:
    """Raises ValueError for a text longer than MOST_CHARACTERS."""
    if characters > MOST_CHARACTERS:
        raise ValueError(
            f"This would make a text of {characters} characters; {MOST_CHARACTERS} are the most."
        )


def check_items(count: int) -> None:
    """Raises ValueError for a list of more than MOST_ITEMS."""
    if count > MOST_ITEMS:
        raise ValueError(f"This would make a list of {count} items; {MOST_ITEMS} are the most.")
