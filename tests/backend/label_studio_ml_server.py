"""A process that serves our class with the first label-studio-ml on the path."""

import sys

from label_studio_ml.api import init_app
from werkzeug.serving import make_server

from tagalong.backend.label_studio_ml import Tagalong

if __name__ == "__main__":  # 1.0.9 starts a process of this file for each event
    folder = {"model_dir": sys.argv[1]} if sys.argv[1:] else {}
    server = make_server("127.0.0.1", 0, init_app(Tagalong, **folder), threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()
