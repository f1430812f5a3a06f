"""What we ask of a Label Studio: one thin seam on its SDK.

:class:`~tagalong.backend.label_studio.api.client.LabelStudioClient` is what the rest of the house holds; each kind of thing
it has (tasks, backends, predictions, webhooks) is a file of its own, and only
:mod:`~tagalong.backend.label_studio.api.connection` knows how a request is sent.
"""
