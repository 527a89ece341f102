"""How fast, and in how much memory: a standard picture from file to file, again and again.

`picture` draws it, `subject` is a model that runs, `measure` times it and watches its memory,
`plain` sets the published arithmetic beside it, `results` keeps and compares, `tables` shows.
"""
