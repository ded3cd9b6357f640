"""The TLS of clients of ``httpx2`` that connect only to servers without it.

Each client otherwise reads all certificates of its machine, or makes a context of its own, which takes longer than its
request.
"""

import ssl
from typing import Final

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""A shared context that accepts no certificate, for ``httpx2.Client(verify=NO_TLS)``."""
