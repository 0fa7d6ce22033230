"""Entry point of ``python -m devhost``, and of ``python -m devhost inspect``: an app in a folder of that name is
``./inspect``."""

import os
import sys

# gRPC reports every connection that is closed on the console, and reads this only when it is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["inspect"]:
            from devhost.inspection.command import main

            code = main(sys.argv[2:])
        else:
            from devhost.cli import main

            code = main()
    except KeyboardInterrupt:
        # Pressed while the libraries were imported, which takes most of a second.
        code = 0
    sys.exit(code)
