"""Which text may come with a payment: a few short fields, and no card numbers."""

import re
from collections.abc import Mapping

from tallystick.errors import Invalid

FIELDS_MAX = 16
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
VALUE_MAX = 1_024
BYTES_MAX = 16_384
PERSON = re.compile(r"[0-9A-Za-z_-]{1,128}")
_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_CARD_BEGINNINGS = tuple("23456")


def check_fields(fields: Mapping[str, str], at: str) -> None:
    """Raises `Invalid` naming the field that may not come."""
    if not 1 <= len(fields) <= FIELDS_MAX:
        raise Invalid(at, f"has 1 to {FIELDS_MAX} fields, not {len(fields)}")
    for name, value in fields.items():
        if not NAME.fullmatch(name):
            raise Invalid(f"{at}.{name[:64]}", "a field's name has 1 to 64 small letters, digits and underscores")
        if not 1 <= len(value) <= VALUE_MAX:
            raise Invalid(f"{at}.{name}", f"must have 1 to {VALUE_MAX:,} characters")
        if sum(len(each.encode()) for each in fields.values()) > BYTES_MAX:
            raise Invalid(at, f"may have {BYTES_MAX:,} bytes in all: a receipt must have room for it")
        if any(map(_is_card_number, _DIGITS.findall(value))):
            raise Invalid(f"{at}.{name}", "looks like a card number, which is kept nowhere; send a token instead")


def check_person(person: str, at: str) -> None:
    """Raises `Invalid` unless it can be the opaque id of a person."""
    if not PERSON.fullmatch(person):
        raise Invalid(at, "must be an opaque id of 1 to 128 letters, digits, - and _")


def _is_card_number(text: str) -> bool:
    """The check digit of ISO/IEC 7812-1, and a beginning that card schemes have."""
    digits = [int(each) for each in text if each.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return text.startswith(_CARD_BEGINNINGS) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
