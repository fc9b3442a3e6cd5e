"""`iha_eval/util/json_hash.py`: one line and one hash for one value."""

from pathlib import Path

from iha_eval.util.json_hash import compact, sha256


def test_order_of_keys_makes_no_difference() -> None:
    assert compact({"b": 1, "a": [True, None]}) == '{"a": [true, null], "b": 1}'
    assert sha256({"b": 1, "a": 2}) == sha256({"a": 2, "b": 1})
    assert sha256({"a": 1}) != sha256({"a": 2})


def test_what_json_has_no_form_for() -> None:
    assert compact({"folder": Path("a/b")}) == '{"folder": "a/b"}'
    assert len(sha256("half a pair: \ud800")) == 64
