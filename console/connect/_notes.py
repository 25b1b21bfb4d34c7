"""What a customer is told where nothing was connected: a sentence for each reason, with what to do."""

from collections.abc import Mapping

from console.connect._consent import Reason

NOTES: Mapping[Reason, tuple[str, str]] = {
    "cancelled": ("", "You came back without allowing access. Nothing was connected; choose again whenever you like."),
    "declined": (
        "warn",
        "Access was not given there. Nothing was connected; try again, or choose another way to connect.",
    ),
    "unavailable": (
        "warn",
        "The other side does not answer at the moment. Nothing was connected; wait a few minutes, then try again.",
    ),
    "broken": (
        "bad",
        ("This way to connect does not work at the moment, through no fault of yours. Choose another one, or tell "
        "whoever sent you the link."),
    ),
    "void": (
        "warn",
        "That sign-in took too long, or was used before. Nothing was connected; choose once more and sign in again.",
    ),
    "gone": (
        "bad",
        ("This connection is over for good at the bank and cannot be repaired. Ask whoever sent you the link for one "
        "that connects anew."),
    ),
    "unproven": (
        "bad",
        ("What came back could not be proved to be genuine. Nothing was connected; try again, and tell whoever sent "
        "you the link if it happens twice."),
    ),
    "incomplete": ("warn", "Something was missing in what was sent. Nothing was connected; choose once more."),
    "taken": (
        "bad",
        "This account is connected already, for another customer. Nothing was connected; ask whoever sent you the link.",
    ),
    "other": (
        "warn",
        ("You signed in to other accounts than those that this link repairs. Nothing was changed; sign in as you did "
        "when you connected them, or ask for a link that connects others."),
    ),
    "unclear": (
        "bad",
        ("These accounts belong to more than one connection, and which of them to go on with cannot be told here. "
        "Nothing was changed; ask whoever sent you the link for one that repairs the right one."),
    ),
    "key": (
        "warn",
        ("Stripe does not take this key. Make a restricted key (rk_…) with the permission Read, copy it whole, and "
        "try again."),
    ),
}  # fmt: skip
"""How it is shown, and the sentence."""


def note(reason: str) -> tuple[str, str] | None:
    """The note of a reason as it comes in an address; anything else is none."""
    return next((told for name, told in NOTES.items() if name == reason), None)
