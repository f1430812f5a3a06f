"""What we ask of a Label Studio: one thin seam on its SDK.

:class:`~backend.remote.client.LabelStudioClient` is what the rest of the house holds; each kind of thing
it has (tasks, backends, predictions, webhooks) is a file of its own, and only
:mod:`~backend.remote.connection` knows how a request is sent.
"""
