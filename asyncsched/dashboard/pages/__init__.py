"""The pages. Each is a function from a request to named fragments, which the first answer and the stream share.

This folder may import the rest of ``asyncsched.dashboard`` except ``app``. Begin reading at ``overview``.
"""
