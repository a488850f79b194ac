"""Certificate authorities of the database providers.

rds-<region>.pem and amazon.pem (RDS Proxy) come from AWS' global bundle. supabase.pem is the
"Supabase Root 2021 CA" (SHA-256 80:70:25:AD:…:72:E6:CA:FA). Each provider and region has a
file of its own, because reading AWS' whole bundle takes longer than connecting.
"""

import re
import ssl
from pathlib import Path

_HERE = Path(__file__).parent
_RDS = re.compile(r"(.+)\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.rds\.amazonaws\.com(?:\.cn)?")
_SUPABASE = (".supabase.co", ".supabase.com")


def is_on_this_machine(host: str) -> bool:
    """True if a connection to `host` does not leave this machine."""
    return host in ("", "localhost", "127.0.0.1", "::1") or host.startswith(("/", "@"))


def authority_of(host: str) -> str:
    """Path of the authorities to trust for a database on `host`: the provider's own, else the
    authorities of this system."""
    if host.endswith(_SUPABASE):
        return str(_HERE / "supabase.pem")
    if found := _RDS.fullmatch(host):
        name = "amazon" if ".proxy-" in found[1] else f"rds-{found[2]}"
        path = _HERE / f"{name}.pem"
        if path.exists():
            return str(path)
    return ssl.get_default_verify_paths().cafile or "system"
