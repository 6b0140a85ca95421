"""How fast the library is on this machine, beside the machine's limit and what one would write.

`cpu.py`, `cuda.py` and `kernel_resources.py` are run; `command` is their command line. They measure
`inputs` with `timing`, one step after the other (`runner`), and in new `processes` what needs one;
`roofline` is the limit, `peers` and `torch_peers` are the others, `report` prints the result.
`peaks.py` and `instances.py` use `timing` only.
"""
