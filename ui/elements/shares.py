"""Shares in tables, in the form that they have everywhere: `84.7 %`."""

from typing import Any

import pandas as pd
import streamlit as st


def in_hundredths(table: pd.DataFrame, *names: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table with the columns `names`, shares of one, in hundredths, and how those are to be shown."""
    shown = table.assign(**{name: 100 * table[name].astype(float) for name in names})
    return shown, dict.fromkeys(names, st.column_config.NumberColumn(format="%.1f %%"))
