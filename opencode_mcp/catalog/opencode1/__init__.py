"""What is known of OpenCode 1."""

from opencode_mcp.catalog.generation import Generation
from opencode_mcp.openapi.snapshots import SNAPSHOT_VERSION

from .amendments import AMENDMENTS
from .annotations import ANNOTATIONS
from .argument_descriptions import ARGUMENT_DESCRIPTIONS
from .descriptions import DESCRIPTIONS
from .first_seen import FIRST_SEEN
from .listing import LISTING
from .minimal_lists import MINIMAL_LISTS
from .scopes import SCOPES
from .sensitive import OPERATIONS_BY_POSITION

OPENCODE_1 = Generation(
    number=1,
    package=__name__,
    amendments=AMENDMENTS,
    annotations=ANNOTATIONS,
    arguments=ARGUMENT_DESCRIPTIONS,
    descriptions=DESCRIPTIONS,
    event_stream="global_event",
    health="global_health",
    first_seen=FIRST_SEEN,
    least_share=0.5,  # 1.14.41 lists 3 operations in its document although it serves more than a hundred
    listing=LISTING,
    minimal_lists=MINIMAL_LISTS,
    mismatch="whose API differs from 1.x",
    alternative=f"use an OpenCode 1.x (tested: opencode-ai@{SNAPSHOT_VERSION})",
    update=f"npm install -g opencode-ai@{SNAPSHOT_VERSION}",
    username=None,
    password_variables=("OPENCODE_SERVER_PASSWORD",),
    needed={},  # the document of an older version lacks some, which `first_seen` names
    positions=OPERATIONS_BY_POSITION,
    scopes=SCOPES,
)
