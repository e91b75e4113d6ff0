"""A server of MLflow's page on one store, in one process: `python -m search.tracking.ui_server HOST PORT GREETING`.

`mlflow server` imports MLflow twice, for its command line and for the server, and logs each request. The store is read
from the environment variable MLFLOW_BACKEND_STORE_URI, because command lines are visible to all users.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING

from search.errors import HybridSearchError

if TYPE_CHECKING:
    import socket


def main(host: str, port: int, greeting: str) -> None:
    """Serve until SIGTERM. The greeting is printed once the server listens, and then only warnings and errors."""
    import uvicorn
    from mlflow.server import constants

    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = "./mlartifacts"
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    from search.tracking.mlflow_client import translated
    from search.tracking.mlflow_database import prepare

    class Server(uvicorn.Server):
        """A server that prints the greeting."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(greeting, file=sys.stderr, flush=True)  # noqa: T201

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    try:
        with translated(uri):
            prepare(uri)
            initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    except HybridSearchError as error:
        sys.exit(f"MLflow cannot open its store: {error}")
    Server(uvicorn.Config(app, host=host, port=port, log_level="warning")).run()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
