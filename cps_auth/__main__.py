"""`python -m cps_auth` is the `cps-auth` command."""

from cps_auth.cli.main import main

if __name__ == "__main__":
    main()
