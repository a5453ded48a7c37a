"""Who listens: the log always, metrics and traces for whoever uses them."""
