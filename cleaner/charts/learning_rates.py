"""The loss at learning rates that grow."""

import altair as alt
import pandas as pd


def losses(tried: pd.DataFrame, suggested: float) -> alt.LayerChart | alt.FacetChart:
    """A line over `tried`, `rate` and `loss`, with the suggested rate marked."""
    rate = alt.X("rate:Q", title="learning rate", scale=alt.Scale(type="log"))
    line = alt.Chart(tried).mark_line().encode(x=rate, y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)))
    mark = alt.Chart(pd.DataFrame({"rate": [suggested], "said": [f"{suggested:.2g}"]}))
    rule = mark.mark_rule(strokeDash=[4, 4]).encode(x=rate)
    text = mark.mark_text(align="left", dx=6, fontSize=13).encode(x=rate, y=alt.value(12), text=alt.Text("said:N"))
    return alt.layer(line, rule, text).properties(width=560, height=300)
