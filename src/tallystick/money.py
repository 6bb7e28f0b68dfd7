"""Amounts: integers of minor units, 0 to 2^128 − 1. Never a float, never a sign, never a thousands separator."""

from tallystick.errors import Invalid

AMOUNT_MAX = (1 << 128) - 1
DIGITS_MAX = 39


def parse(value: object, field: str = "amount") -> int:
    """An amount in minor units from a string of digits or an integer.

    Raises `Invalid` naming `field` for floats, signs, other characters and amounts of 2^128 and above.
    """
    if isinstance(value, str):
        if not (value.isdigit() and value.isascii() and len(value) <= DIGITS_MAX):
            raise Invalid(field, "must be a string of decimal digits (minor units), without sign, point or exponent")
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise Invalid(field, "must be a string of digits or an integer (minor units); floats are refused")
    if not 0 <= number <= AMOUNT_MAX:
        raise Invalid(field, "must be between 0 and 2^128 - 1")
    return number
