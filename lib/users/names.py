"""The rules for handles and display names, and the form in which two handles are compared.

Handles follow the PRECIS profile UsernameCaseMapped (RFC 8265), display names NicknameCasePreserved (RFC 8266). The
rules hold for new names only: users keep older ones that break them. The profiles are loaded at their first use,
because the stream function needs none.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from precis_i18n.profile import Profile

MAX_CHARS = 255  # a CHECK of the table says the same
HANDLE_RULE = (
    "A handle has 1 to 255 letters and digits of one script, with single `.`, `_` and `-` between them, and is no uuid"
)
DISPLAY_NAME_RULE = "A display name has 1 to 255 visible characters, and no control or formatting characters"

# The scripts in common use (UAX 31, table 5), as the names of their characters begin.
_SCRIPT = re.compile(
    "(?:EXTENDED )?(ARABIC|ARMENIAN|BENGALI|BOPOMOFO|CJK|CYRILLIC|DEVANAGARI|ETHIOPIC|GEORGIAN|GREEK|GUJARATI|GURMUKHI"
    "|HANGUL|HEBREW|HIRAGANA|KANNADA|KATAKANA|KHMER|LAO|LATIN|MALAYALAM|MYANMAR|ORIYA|SINHALA|TAMIL|TELUGU|THAANA|THAI"
    r"|TIBETAN)\b"
)
_SEPARATOR = re.compile("[._-]")
_HEX_OF_UUID = re.compile("[0-9a-f]{32}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# Variation selectors, the joiners of emoji, and the tags of a flag.
_EMOJI_FORMATS = re.compile(
    "[\ufe0e\ufe0f]|(?<=[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d|(?<=\U0001f3f4)[\U000e0020-\U000e007f]+"
)

# White space, Unicode's Default_Ignorable_Code_Point, and other characters that are blank or that control a layout.
_INVISIBLE = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U00013430-\U00013442\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)


def handle_key(text: str) -> str | None:
    """The form in which handles are compared, whatever their case, width and normalization; None breaks the rule."""
    key = _enforce("UsernameCaseMapped", text)
    if key is None or _HEX_OF_UUID.fullmatch(key.replace("-", "")):
        return None
    parts = _SEPARATOR.split(key)
    if not all(part and unicodedata.category(part[0])[0] in "LN" for part in parts):
        return None
    others = {char for part in parts for char in part if not (char.isascii() and char.isdigit())}
    scripts = {_script(char) for char in others}
    return key if len(scripts) <= 1 and None not in scripts else None


def display_name(text: str) -> str | None:
    """The form in which a display name is stored: NFKC, with single spaces; None breaks the rule.

    Emoji lose the formatting characters inside them, which PRECIS refuses.
    """
    name = _enforce("NicknameCasePreserved", _EMOJI_FORMATS.sub("", text))
    return None if name is None or shows_nothing(name) else name


def shows_nothing(text: str) -> bool:
    """Whether a text has no visible character."""
    return _INVISIBLE.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Whether Postgres can hold this text: no NUL, no lone surrogate, not longer than the column."""
    return len(text) <= MAX_CHARS and not _UNSTORABLE.search(text)


def _enforce(profile: str, text: str) -> str | None:
    """The text in a PRECIS profile's form; None if the profile refuses it, or a column cannot hold it."""
    if not is_storable(text):
        return None
    try:
        enforced = _profile(profile).enforce(text)
    except UnicodeEncodeError:
        return None
    return enforced if is_storable(enforced) else None


def _script(char: str) -> str | None:
    """The script of a letter, digit or mark; None for other characters and rare scripts."""
    match = _SCRIPT.match(unicodedata.name(char, ""))
    return match[1] if match and unicodedata.category(char)[0] in "LMN" else None


@cache
def _profile(name: str) -> Profile:
    from precis_i18n import get_profile

    return get_profile(name)
