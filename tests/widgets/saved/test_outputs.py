"""What a notebook keeps of a panel: today's state, replaced after a change."""

import ipywidgets
import pytest

from cases import CASES
from panels import run
from unlearnkit.widgets.parts.elements.fallback import VIEW
from unlearnkit.widgets.saved import outputs


class Screen:
    """Takes what is displayed, and replaces what has the same display id."""

    def __init__(self, monkeypatch):
        self.shown = {}
        self.updates = 0
        monkeypatch.setattr(outputs, "_publish", self.publish)

    def publish(self, bundle, display_id="", update=False):
        self.updates += update
        self.shown[display_id] = bundle

    @property
    def saved(self):
        """What a page without a kernel shows."""
        return "".join(bundle.get("text/html", "") for bundle in self.shown.values())


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setattr(outputs, "_copies", [])
    return Screen(monkeypatch)


@pytest.fixture
def session():
    session = CASES["uneven"].session()
    return session


def test_a_widget_and_its_picture_are_two_outputs(screen, session):
    panel = session.panel("training")
    panel._ipython_display_()
    alive, picture = screen.shown.values()
    assert alive[VIEW]["model_id"] == panel.widget.model_id and "text/html" not in alive
    assert VIEW not in picture and panel.title in picture["text/html"]


def test_a_saved_panel_shows_the_state_in_which_it_is_saved(screen, session):
    dashboard = session.dashboard()
    dashboard._ipython_display_()
    assert "Not trained yet" in screen.saved
    session.train()
    session.revoke(count=6, seed=2)
    dashboard.open_step("boundary")
    outputs.replace_all()
    assert "Not trained yet" not in screen.saved and "At a threshold of 25%" in screen.saved
    run(dashboard["boundary"].runner)
    outputs.replace_all()
    assert "6 examples forgotten" in screen.saved and "At a threshold" not in screen.saved


def test_a_picture_is_replaced_only_if_it_differs(screen, session):
    panel = session.panel("training")
    panel._ipython_display_()
    outputs.replace_all()
    assert screen.updates == 0
    session.train()
    panel.update()
    outputs.replace_all()
    assert screen.updates == 1


def test_the_page_is_told_which_pictures_to_hide(screen, session):
    panel = session.panel("training")
    panel._ipython_display_()
    (picture,) = panel._message.copies
    assert f'data-uk-copy="{picture}"' in screen.saved


def test_a_change_is_noted_and_shown_a_moment_later(screen, session, monkeypatch):
    monkeypatch.setattr(outputs, "PAUSE", 0.0)
    panel = session.panel("training")
    panel._ipython_display_()
    panel.say("a < b")
    for timer in list(outputs._timer):
        timer.join(30)
    assert "a &lt; b" in screen.saved


def test_the_saved_dashboard_and_instrument_stay_small(screen):
    import unlearnkit as uk

    session = uk.Session("digits", model="logistic", num_shards=20, num_slices=5, epochs=1)
    session.train()
    session.revoke(count=40)
    session.dashboard()._ipython_display_()
    session.instrument()._ipython_display_()
    assert 50_000 < len(screen.saved) < 250_000


def test_widgets_without_a_picture_of_their_own_are_walked_through(screen):
    inner = ipywidgets.HBox([ipywidgets.Checkbox(True, description="agreed")])
    outputs.show(ipywidgets.VBox([inner]), lambda: "words")
    assert "<p>agreed: yes</p>" in screen.saved
