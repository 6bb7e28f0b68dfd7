"""A broker's topics or queues that nobody has had: for a bench or a torture beside what else uses the broker."""

from tallystick.clock import Entropy


def own_intake(intake: str, entropy: Entropy) -> str:
    """`TALLY_INTAKE` with a name of its own at the end, if it is a broker's. What is made there stays there."""
    if "://" not in intake:
        return intake
    place, mark, options = intake.partition("?")
    if place.count("/") < 3:
        place += "/tally"
    return f"{place.rstrip('/')}-{entropy(4).hex()}{mark}{options}"
