"""The subcommands of `mdn-cupy` that have a module of their own."""
