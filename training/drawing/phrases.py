"""How captions are worded: articles, sizes, places, relations, backgrounds and openings."""

from random import Random

from imaging.shapes.adherence import RELATION_WORDS, UNORDERED_WORDS

__all__ = [
    "OPENINGS",
    "RELATIONS",
    "RELATION_WORDS",
    "SIZE_WORDS",
    "UNORDERED_WORDS",
    "on_background",
    "opened",
    "place_words",
    "thing",
    "with_article",
]
SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "medium": ("",),
    "large": ("large", "big", "huge"),
}
OPENINGS = (
    "a picture of",
    "an image of",
    "a drawing of",
    "a painting of",
    "an illustration of",
    "a photo of",
)
RELATIONS = ("left", "right", "above", "below")

_BACKGROUNDS = (
    (6.0, "on {article} background"),
    (1.0, "on {article}"),
    (1.5, ", {colour} background"),
    (1.5, "with {article} background"),
    (0.7, "over {article} background"),
)


def with_article(words: str) -> str:
    """`words` after "a" or "an"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def thing(rng: Random, *, size: str, colour: str, shape: str) -> str:
    """ "a red circle", "a tiny red circle"."""
    words = (rng.choice(SIZE_WORDS[size]), colour, shape)
    return with_article(" ".join(filter(None, words)))


def on_background(rng: Random, words: str, *, background: str) -> str:
    """`words` with the background named after them, in one of several wordings."""
    forms = [form for _, form in _BACKGROUNDS]
    form = rng.choices(forms, [weight for weight, _ in _BACKGROUNDS])[0]
    tail = form.format(article=with_article(background), colour=background)
    return words + tail if tail.startswith(",") else f"{words} {tail}"


def place_words(rng: Random, place: str) -> str:
    """ "in the top left corner", "at the top", "on the left side"."""
    if " " in place:
        return f"in the {place} corner"
    return rng.choice((f"at the {place}", f"on the {place}", f"on the {place} side"))


def opened(rng: Random, caption: str) -> str:
    """`caption`, now and then after "a picture of" and the like, now and then without its article."""
    if rng.random() < 0.15:
        return f"{rng.choice(OPENINGS)} {caption}"
    if rng.random() < 0.08:
        return caption.removeprefix("a ")
    return caption
