"""Is all here that is needed, and does it work? Nothing is fetched, nothing but temporary files written.

`codecs`, `devices`, `weights` and `places` find facts by trying; `report` says what is wrong with
them and what to do about it.
"""
