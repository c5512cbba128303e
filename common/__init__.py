"""What every process shares: the data type, its catalogue, the wire, the run loop, configuration, logs."""

VERSION = "0.2.0"
