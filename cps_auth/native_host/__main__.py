"""`python -m cps_auth.native_host`, which the launcher of `cps-auth browser install` runs."""

from cps_auth.native_host.program import main

main()
