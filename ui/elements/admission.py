"""Who may look: everybody who reaches the server, unless a password or a provider of identities is set up."""

import hmac
import os
from dataclasses import dataclass
from time import monotonic

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

PASSWORD = "CLEANER_UI_PASSWORD"
_FREE, _LONGEST, _FORGOTTEN = 5, 60.0, 600.0
"""Wrong passwords in a row that cost nothing; seconds that a further one costs at most; seconds after which they are
forgotten."""


def admitted() -> bool:
    """Whether this visitor may see the pages; asks for what is missing."""
    if _has_provider():
        if st.user.is_logged_in:
            return True
        st.button("Log in", on_click=st.login)
        return False
    wanted = os.environ.get(PASSWORD, "")
    if not wanted or st.session_state.get("admitted"):
        return True
    given, guesses = st.text_input("Password", type="password", autocomplete="current-password"), _guesses()
    if not given:
        return False
    if (seconds := guesses.seconds_left()) > 0:
        st.error(f"Too many wrong passwords; try again in {seconds:.0f} s.")
    elif hmac.compare_digest(given.encode(), wanted.encode()):
        st.session_state["admitted"] = True
        st.rerun()
    else:
        guesses.wrong()
        st.error("That is not the password.")
    return False


@dataclass
class Guesses:
    """The wrong passwords of all visitors: from the fifth in a row on each makes everybody wait, longer each time."""

    count: int = 0
    until: float = 0.0

    def wrong(self) -> None:
        self.count += 1
        self.until = monotonic() + (0.0 if self.count < _FREE else min(2.0 ** (self.count - _FREE + 1), _LONGEST))

    def seconds_left(self) -> float:
        """How long nobody may try; what was long ago is forgotten."""
        now = monotonic()
        if now - self.until > _FORGOTTEN:
            self.count = 0
        return self.until - now


@st.cache_resource(show_spinner=False)
def _guesses() -> Guesses:
    return Guesses()


def _has_provider() -> bool:
    """Whether Streamlit's secrets name an OpenID Connect provider."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
