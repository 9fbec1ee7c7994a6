"""Stages: each looks for one kind of noise. A part is one file in this folder."""
