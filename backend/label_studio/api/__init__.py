"""The seam to Label Studio's API.

The rest of the project holds a `client.LabelStudioClient`. Each resource (tasks, ML backends,
predictions, webhooks, tabs) has its own file. Only `connection` knows how a request is sent.
"""

# Of label-studio-sdk 2.0 we use the request layer (tokens, retries), not its typed clients:
# - They validate nothing. `users.whoami()` makes a user without an id of `{"user": 1}`, and
#   `ml.list()` reads `"is_interactive": "maybe"` as False. Our parsers refuse such an answer.
# - `label_studio_sdk.client` imports 1,400 modules (pandas among them), the request layer 420.
# - They repeat every POST after 409 and 5xx, so that tasks and predictions would be stored twice.
# - `tasks.list()` takes ten times as long as `json.loads`, and turns timestamps of an export into
#   objects. Feature flags, columns, version counts and `predict/test` have no method at all.
