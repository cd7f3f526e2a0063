"""What a saved file says about how it was made."""

import json

from PIL import Image as Pillow

from graph import Context

EXIF_PROMPT = 0x0110
EXIF_EXTRAS = (0x010F, 0x010E, 0x010D, 0x010C, 0x010B)
"""Tags under which pictures without text chunks carry texts, "key:text" each; the field's tools read the same ones."""


def workflow_metadata(ctx: Context) -> dict[str, str]:
    """The running workflow as text by key: `prompt` (what runs), and whatever the sender wants kept beside it."""
    kept = {name: json.dumps(value) for name, value in ctx.extra.items()}
    return {"prompt": json.dumps(ctx.workflow), **kept} if ctx.workflow else kept


def picture_texts(picture: Pillow.Image) -> dict[str, str]:
    """The texts that an opened picture carries, by key: PNG's own, or those in EXIF."""
    texts = {str(key): text for key, text in picture.info.items() if isinstance(text, str)}
    if picture.format != "PNG":
        exif = picture.getexif()
        for tag in (EXIF_PROMPT, *EXIF_EXTRAS):
            key, colon, text = str(exif.get(tag, "")).partition(":")
            if colon:
                texts.setdefault(key, text)
    return texts
