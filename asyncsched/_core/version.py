"""The package's version: the one place it is written down."""

VERSION = "0.2.0"
