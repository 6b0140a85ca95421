"""How fast this library is on this machine, against the machine's limit and what one would write.

`mdn-cupy bench` is its command line. `cpu` and `cuda` say what is measured, on `cases`, by the
clock of `measure` and in the separate `processes` that some numbers need; `roofline` is the limit,
`peers` and `torch_peers` are the others, and `report` is what comes of it.
"""
