"""Entry point of ``python -m devhost``."""

import os
import sys

# gRPC reports every connection that is closed on the console, and reads this only when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

if __name__ == "__main__":
    try:
        from devhost.cli import main

        code = main()
    except KeyboardInterrupt:
        # Pressed while the libraries were imported, which takes most of a second.
        code = 0
    sys.exit(code)
