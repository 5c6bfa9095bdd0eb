"""What is known of OpenCode 2: of 2.1.2, from its API, and from what others report of 2.0."""

from opencode_mcp.catalog.generation import Generation

from .amendments import AMENDMENTS
from .annotations import ANNOTATIONS
from .argument_descriptions import ARGUMENT_DESCRIPTIONS
from .descriptions import DESCRIPTIONS
from .listing import LISTING
from .minimal_lists import MINIMAL_LISTS
from .needed import NEEDED
from .scopes import SCOPES
from .sensitive import OPERATIONS_BY_POSITION

OPENCODE_2 = Generation(
    number=2,
    package=__name__,
    amendments=AMENDMENTS,
    annotations=ANNOTATIONS,
    arguments=ARGUMENT_DESCRIPTIONS,
    descriptions=DESCRIPTIONS,
    event_stream="event_subscribe",
    health="server_info",
    least_share=0.0,
    listing=LISTING,
    minimal_lists=MINIMAL_LISTS,
    mismatch="whose API differs from 2.x",
    alternative="use an OpenCode 2.x",
    update="npm install -g @opencode/cli",
    username="opencode",
    password_variables=("OPENCODE_PASSWORD", "OPENCODE_SERVER_PASSWORD"),
    needed=NEEDED,
    positions=OPERATIONS_BY_POSITION,
    scopes=SCOPES,
)
