"""Who may look: everybody who reaches the server, unless a password or a provider of identities is set up."""

import hmac
import os

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

PASSWORD = "CLEANER_UI_PASSWORD"


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
    given = st.text_input("Password", type="password", autocomplete="current-password")
    if given and hmac.compare_digest(given.encode(), wanted.encode()):
        st.session_state["admitted"] = True
        st.rerun()
    if given:
        st.error("That is not the password.")
    return False


def _has_provider() -> bool:
    """Whether Streamlit's secrets name an OpenID Connect provider."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False
