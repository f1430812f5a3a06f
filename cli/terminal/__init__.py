"""Options, output and subprocesses that the commands share."""
