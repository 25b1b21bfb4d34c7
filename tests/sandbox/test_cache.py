"""The cache forgets what was used longest ago, and never weighs more than its limit."""

from sandbox._cache import Cache


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    made: list[str] = []
    cache: Cache[str, str] = Cache(4, len)

    def get(value: str) -> str:
        return cache.get(value, lambda: made.append(value) or value)  # type: ignore[func-returns-value]

    for asked in ("aa", "bb", "aa", "cc", "aa", "bb"):
        assert get(asked) == asked
    assert made == ["aa", "bb", "cc", "bb"]
    assert cache.weight == 4


def test_a_value_heavier_than_the_limit_is_held_until_the_next() -> None:
    cache: Cache[str, str] = Cache(1, len)
    assert cache.get("k", lambda: "heavy") == cache.get("k", lambda: "never made") == "heavy"
    assert cache.get("l", lambda: "x") == "x"
    assert cache.weight == 1
