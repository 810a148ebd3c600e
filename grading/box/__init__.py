"""The box: where strangers' code runs, and where checks look at what it returns.

`launch` starts it under bubblewrap; `server`, `walls`, `student` and `judge` are the programs inside.
"""
