"""The seam to Label Studio's API.

The rest of the project holds a `client.LabelStudioClient`, whose `resources` return `objects`. Only
`http_client` knows how a request is sent.
"""

# Of label-studio-sdk 2.0 we use the request layer (tokens, retries), not its typed clients:
# - They validate nothing. `users.whoami()` makes a user without an id of `{"user": 1}`, and
#   `ml.list()` reads `"is_interactive": "maybe"` as False. Our parsers refuse such answers. So
#   the typed clients would replace paths by method names, but none of the code around them.
# - `label_studio_sdk.client` takes 0.8 s to import (1,300 modules, pandas among them), the request
#   layer 0.2 s.
# - They repeat every POST after 409 and 5xx unless each call forbids it, and so would store tasks
#   and predictions twice.
# - Feature flags, columns and version counts have no method.
