"""The peers that are driven in this process, one module each: set up as the page says that is named there.

A page's advice is followed where it gives one; what it leaves open is set so that the peer does best.
"""
