"""The watcher itself; that it works in real installations is in tests/packaging."""

import importlib
import importlib.util
import sys
import zipfile

import pytest

from iha_eval.lm_eval_plugin import register, startup


@pytest.fixture
def watcher(monkeypatch, tmp_path):
    """A watcher in a process of its own making: only `watched_here` is watched."""
    calls = []
    monkeypatch.setattr(startup, "WATCHED", {"watched_here": "note", "watched_zip": "note"})
    monkeypatch.setattr(register, "note", calls.append, raising=False)
    others = [finder for finder in sys.meta_path if type(finder) is not startup.Watcher]
    monkeypatch.setattr(sys, "meta_path", others)
    monkeypatch.delenv(startup.OFF_SWITCH, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    startup.install()
    yield calls
    for name in ("watched_here", "watched_zip", "plain_here", "plain_zip"):
        sys.modules.pop(name, None)


def test_a_watched_module_is_passed_on_after_it_ran(watcher, tmp_path):
    (tmp_path / "watched_here.py").write_text("value = 7\n")
    module = importlib.import_module("watched_here")
    assert watcher == [module]
    assert module.value == 7


def test_a_reload_is_passed_on_again(watcher, tmp_path):
    (tmp_path / "watched_here.py").write_text("value = 7\n")
    module = importlib.import_module("watched_here")
    importlib.reload(module)
    assert watcher == [module, module]


def test_other_modules_are_left_alone(watcher, tmp_path):
    (tmp_path / "plain_here.py").write_text("")
    importlib.import_module("plain_here")
    assert watcher == []


def test_modules_that_share_a_zip_loader_are_told_apart(watcher, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("watched_zip.py", "")
        archive.writestr("plain_zip.py", "")
    monkeypatch.syspath_prepend(tmp_path / "z.zip")
    module = importlib.import_module("watched_zip")
    importlib.import_module("plain_zip")
    assert watcher == [module]


def test_a_watched_module_that_is_missing_stays_missing(watcher):
    assert importlib.util.find_spec("watched_here") is None
    with pytest.raises(ModuleNotFoundError, match="watched_here"):
        importlib.import_module("watched_here")


def test_a_namespace_package_under_a_watched_name_is_let_through(watcher, tmp_path):
    (tmp_path / "watched_here").mkdir()
    assert importlib.import_module("watched_here").__file__ is None


def test_an_error_of_the_module_itself_is_not_swallowed(watcher, tmp_path):
    (tmp_path / "watched_here.py").write_text("raise OSError('its own')\n")
    with pytest.raises(OSError, match="its own"):
        importlib.import_module("watched_here")
    assert watcher == []


def test_a_failing_step_is_logged_and_the_import_goes_on(watcher, tmp_path, monkeypatch, caplog):
    def fail(module):
        raise KeyError("no such registry")

    monkeypatch.setattr(register, "note", fail)
    (tmp_path / "watched_here.py").write_text("value = 7\n")
    assert importlib.import_module("watched_here").value == 7
    [record] = caplog.records
    assert record.getMessage() == (
        "iha-eval could not extend watched_here (KeyError: 'no such registry');"
        " set IHA_EVAL_NO_HOOK=1 to leave lm-eval alone"
    )


def test_installing_twice_watches_once(watcher):
    startup.install()
    assert sum(type(finder) is startup.Watcher for finder in sys.meta_path) == 1


@pytest.mark.parametrize(("value", "watches"), [("1", 0), ("yes", 0), ("0", 1), ("", 1)])
def test_off_switch(watcher, monkeypatch, value, watches):
    others = [finder for finder in sys.meta_path if type(finder) is not startup.Watcher]
    monkeypatch.setattr(sys, "meta_path", others)
    monkeypatch.setenv(startup.OFF_SWITCH, value)
    startup.install()
    assert sum(type(finder) is startup.Watcher for finder in sys.meta_path) == watches


def test_every_step_exists():
    assert all(callable(getattr(register, step)) for step in startup.WATCHED.values())


def test_every_watched_module_exists_in_this_lm_eval():
    assert all(importlib.util.find_spec(name) for name in startup.WATCHED)


def test_a_finder_that_asks_all_others_and_the_watcher_do_not_ask_each_other_for_ever(monkeypatch):
    class Delegating:
        def find_spec(self, name, path=None, target=None):
            for finder in sys.meta_path:
                if finder is not self and (spec := finder.find_spec(name, path, target)):
                    return spec
            return None

    monkeypatch.setattr(startup, "WATCHED", {"colorsys": "add_models"})
    monkeypatch.setattr(startup, "_register", lambda _: None)
    monkeypatch.setattr(sys, "meta_path", [startup.Watcher(), Delegating(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
