"""The verbs: what `chromaflow <verb>` does is in `steps/<verb>.py`; `table.py` lists them all."""
