"""One module for each kind of write, each one transaction over a ``Session``, the same for every database."""
