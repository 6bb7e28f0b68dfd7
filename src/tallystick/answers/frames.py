"""Messages in a stream of bytes: each behind its length, four bytes little-endian. Pure."""

from tallystick.errors import Invalid

MESSAGE_BYTES_MAX = 4_194_304
_LENGTH = 4


def frame(message: bytes) -> bytes:
    """A message as it stands in the stream. Raises `Invalid` for one of over 4 MiB."""
    if len(message) > MESSAGE_BYTES_MAX:
        raise Invalid("message", f"may have {MESSAGE_BYTES_MAX:,} bytes, not {len(message):,}")
    return len(message).to_bytes(_LENGTH, "little") + message


class Frames:
    """Takes a stream apart, in pieces of whatever size it comes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes. Raises `Invalid` if the other end sends what no message can be."""
        if self._rest:
            data = self._rest + data
        messages = []
        at, end = 0, len(data)
        while end - at >= _LENGTH:
            length = int.from_bytes(data[at : at + _LENGTH], "little")
            if length > MESSAGE_BYTES_MAX:
                raise Invalid("message", f"may have {MESSAGE_BYTES_MAX:,} bytes, not {length:,}")
            if end - at - _LENGTH < length:
                break
            at += _LENGTH
            messages.append(data[at : at + length])
            at += length
        self._rest = data[at:]
        return messages
